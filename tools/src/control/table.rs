//! Tables for people.

use comfy_table::{CellAlignment, Table, presets};

use super::types::{Client, Stats};

/// One line a sleeper, as `ss` and `who` print them.
pub fn who(clients: &[Client], now_us: u64) -> String {
    let mut table = plain(&["USER", "STATE", "ASLEEP", "MAILBOX", "REMOTE", "SESSION"]);
    let mut awake = 0;
    for client in clients {
        let asleep = match client.hibernated_us {
            0 => {
                awake += 1;
                String::new()
            }
            since_us => duration(now_us.saturating_sub(since_us) / 1_000_000),
        };
        table.add_row([
            safe(&client.user),
            safe(&client.state),
            asleep,
            safe(&client.mailbox),
            safe(&client.remote_ip),
            safe(&client.session),
        ]);
    }
    let asleep = clients.len() - awake;
    let awake = if awake > 0 { format!(", {awake} awake") } else { String::new() };
    format!("{}\n{asleep} asleep{awake}\n", trimmed(&table))
}

/// One line a value.
pub fn stats(stats: &Stats) -> String {
    let mut table = plain(&["", ""]);
    table.set_header(Vec::<String>::new());
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (name, value) in &stats.counters {
        table.add_row([name.clone(), value.to_string()]);
    }
    for (name, value) in &stats.front {
        table.add_row([format!("front {name}"), value.to_string()]);
    }
    for (name, value) in &stats.limits {
        table.add_row([format!("limit {name}"), value.to_string()]);
    }
    for (name, value) in &stats.losses {
        table.add_row([format!("lost {name}"), value.to_string()]);
    }
    for engine in stats.engines.iter().filter(|_| stats.engines.len() > 1) {
        let asleep = format!("engine {} (pid {}) asleep", engine.number, engine.pid);
        table.add_row([asleep, engine.asleep.to_string()]);
    }
    let Stats { version, pid, base_dir, .. } = stats;
    let up = duration(stats.uptime_secs);
    format!("torpor {version}, pid {pid}, up {up}, {}\n{}\n", safe(base_dir), trimmed(&table))
}

/// Words of mail clients must not move the cursor of a terminal.
pub fn safe(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}

/// The two largest units.
pub fn duration(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs}s"),
        60..3_600 => format!("{}m{:02}s", secs / 60, secs % 60),
        3_600..86_400 => format!("{}h{:02}m", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{}d{:02}h", secs / 86_400, secs % 86_400 / 3_600),
    }
}

fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    table
}

fn trimmed(table: &Table) -> String {
    let lines = table.lines().map(|line| {
        line.trim_end().strip_prefix(' ').map_or_else(|| line.trim_end().to_owned(), str::to_owned)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(user: &str, mailbox: &str) -> Client {
        Client {
            user: user.into(),
            session: "s1".into(),
            mailbox: mailbox.into(),
            local_ip: String::new(),
            local_port: String::new(),
            remote_ip: "192.0.2.7".into(),
            remote_port: "4000".into(),
            state: "asleep".into(),
            engine: None,
            slot: 0,
            generation: 1,
            hibernated_us: 1_000_000,
            pid: None,
        }
    }

    #[test]
    fn sleepers_stand_in_columns() {
        let clients = [client("u1", "INBOX"), client("longer@example.com", "")];
        let text = who(&clients, 3_725_000_000 + 1_000_000);
        let expected = "\
USER                STATE   ASLEEP  MAILBOX  REMOTE     SESSION
u1                  asleep  1h02m   INBOX    192.0.2.7  s1
longer@example.com  asleep  1h02m            192.0.2.7  s1
2 asleep
";
        assert_eq!(text, expected);
    }

    #[test]
    fn escape_sequences_of_a_client_do_not_reach_the_terminal() {
        let text = who(&[client("u\x1b[2J\n", "\u{9b}")], 0);
        assert!(text.contains("u?[2J?"), "{text:?}");
        assert!(!text.chars().any(|char| char.is_control() && char != '\n'), "{text:?}");
    }

    #[test]
    fn durations_have_two_units() {
        let texts = [(5, "5s"), (61, "1m01s"), (3_600, "1h00m"), (90_000, "1d01h")];
        for (secs, text) in texts {
            assert_eq!(duration(secs), text);
        }
    }
}
