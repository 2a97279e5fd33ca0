//! How whoever holds the sleepers is killed.

use super::scene::Scene;

/// A shell command that kills, with SIGKILL and by their pids, those who hold the sleepers at the
/// moment when it runs: torpor's engines, or Dovecot's imap-hibernate.
pub fn holders(scene: &Scene) -> String {
    let (parent, name) = match scene {
        Scene::Builtin(server) => (server.pid(), "torpor-engine"),
        Scene::Dovecot { torpor: Some(torpor), .. } => (torpor.pid(), "torpor-engine"),
        Scene::Dovecot { torpor: None, dovecot } => {
            (dovecot.pid().unwrap_or_default(), "imap-hibernate")
        }
    };
    format!(
        "for pid in $(cat /proc/{parent}/task/*/children); do \
         case $(cat /proc/$pid/comm) in {name}) kill -KILL $pid;; esac; done"
    )
}
