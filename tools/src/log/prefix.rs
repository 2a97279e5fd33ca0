//! Dovecot's `mail_log_prefix`, filled in.
//!
//! Two syntaxes in one: 2.3 writes `%s(%u)<%{pid}><%{session}>: `, 2.4 writes
//! `%{service}(%{user})<%{process:pid}><%{session}>: ` and pipes values through filters. What is
//! unknown becomes nothing: a log line must never fail.

use crate::card::Card;

/// The prefix of `card`'s lines. `pid` is ours.
pub fn expand(card: &Card, pid: u32) -> String {
    let mut out = String::with_capacity(card.prefix.len() + 64);
    let mut rest = card.prefix.as_str();
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(text) = rest.strip_prefix('%') {
            out.push('%');
            rest = text;
            continue;
        }
        // 2.3: width and modifiers stand between the sign and the name.
        let modifiers = rest.find(|char: char| !is_modifier(char)).unwrap_or(rest.len());
        let (modifier, after) = rest.split_at(modifiers);
        let (value, after) = match after.strip_prefix('{').and_then(|long| long.split_once('}')) {
            Some((inner, after)) => (long(card, pid, inner), after),
            None => short(card, pid, after),
        };
        out.push_str(&modified(&value, modifier));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// `%u` and the like, with the text behind it.
fn short<'a>(card: &Card, pid: u32, text: &'a str) -> (String, &'a str) {
    let mut chars = text.chars();
    let name = match chars.next() {
        Some('u') => "user",
        Some('n') => "username",
        Some('d') => "domain",
        Some('s') => "service",
        Some('l') => "lip",
        Some('r') => "rip",
        Some('p') => "pid",
        Some('i') => "uid",
        _ => "",
    };
    (variable(card, pid, name), chars.as_str())
}

/// `%{name}`, `%{userdb:field:default}`, `%{name | filter | filter}`.
fn long(card: &Card, pid: u32, inner: &str) -> String {
    let mut parts = inner.split('|').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let value = match name.strip_prefix("userdb:") {
        Some(field) => {
            let (field, default) = field.split_once(':').unwrap_or((field, ""));
            card.userdb(field).unwrap_or_else(|| default.to_owned())
        }
        None => variable(card, pid, name),
    };
    parts.fold(value, |value, filter| filtered(&value, filter))
}

fn variable(card: &Card, pid: u32, name: &str) -> String {
    let auth_user = || card.userdb("auth_user").unwrap_or_else(|| card.user.clone());
    match name {
        "user" => card.user.clone(),
        "username" => local(&card.user).to_owned(),
        "domain" => domain(&card.user).to_owned(),
        "service" => SERVICE.to_owned(),
        "lip" | "local_ip" => card.lip.clone(),
        "rip" | "remote_ip" => card.rip.clone(),
        "lport" | "local_port" => card.lport.clone(),
        "rport" | "remote_port" => card.rport.clone(),
        "pid" | "process:pid" => pid.to_string(),
        "uid" | "process:uid" => card.uid.clone(),
        "gid" | "process:gid" => card.gid.clone(),
        "session" => card.session.clone(),
        "auth_user" => auth_user(),
        "auth_username" => local(&auth_user()).to_owned(),
        "auth_domain" => domain(&auth_user()).to_owned(),
        // `home` among them, which the worker does not send.
        _ => String::new(),
    }
}

fn filtered(value: &str, filter: &str) -> String {
    let default = filter.strip_prefix("default(").and_then(|rest| rest.strip_suffix(')'));
    match filter {
        "lower" => value.to_lowercase(),
        "upper" => value.to_uppercase(),
        "username" => local(value).to_owned(),
        "domain" => domain(value).to_owned(),
        _ if value.is_empty() => {
            let text = default.unwrap_or_default();
            text.trim_matches(|char| matches!(char, '\'' | '"')).to_owned()
        }
        _ => value.to_owned(),
    }
}

fn modified(value: &str, modifier: &str) -> String {
    let value = if modifier.contains('L') { value.to_lowercase() } else { value.to_owned() };
    if modifier.contains('U') { value.to_uppercase() } else { value }
}

fn is_modifier(char: char) -> bool {
    char.is_ascii_digit() || matches!(char, '-' | '.' | 'L' | 'U' | 'T')
}

fn local(user: &str) -> &str {
    user.split_once('@').map_or(user, |(local, _)| local)
}

fn domain(user: &str) -> &str {
    user.split_once('@').map_or("", |(_, domain)| domain)
}

/// The name under which Dovecot's own process logs.
pub const SERVICE: &str = "imap-hibernate";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefix: &str, expected: &str) {
        let card = Card {
            user: "Ann@example.com".into(),
            session: "s/1".into(),
            rip: "203.0.113.5".into(),
            uid: "5000".into(),
            userdb_fields: "auth_user=boss@corp\tquota=1\u{1}t2".into(),
            prefix: prefix.into(),
            ..Card::default()
        };
        assert_eq!(expand(&card, 42), expected, "{prefix}");
    }

    #[test]
    fn the_defaults_of_both_versions() {
        let line = "imap-hibernate(Ann@example.com)<42><s/1>: ";
        check("%s(%u)<%{pid}><%{session}>: ", line);
        check("%{service}(%{user})<%{process:pid}><%{session}>: ", line);
    }

    #[test]
    fn short_names_modifiers_and_the_sign_itself() {
        check("%n at %d, %Lu, %Un, %r", "Ann at example.com, ann@example.com, ANN, 203.0.113.5");
        check("100%% %p %i%h|", "100% 42 5000|");
        check("%", "");
        check("%{user", "user");
    }

    #[test]
    fn filters_and_fields_of_the_user_database() {
        check("%{user | username | lower}", "ann");
        check("%{user|domain}", "example.com");
        check("%{home | default('-')}", "-");
        check("%{auth_user} %{auth_username} %{auth_domain}", "boss@corp boss corp");
        check("%{userdb:quota} %{userdb:none:x} %{userdb:none}", "1\t2 x ");
        check("%{nonsense}", "");
    }
}
