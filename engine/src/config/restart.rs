//! What of another configuration a reload cannot bring about: sockets, files and threads that stand since the start.

use super::{Auth, Config, Delivery, Listener, QueueLimits};

impl Config {
    /// The parts that take effect with a restart only, as they are called in the file. Certificates, users and everything
    /// that dispatch decides by are not among them.
    pub fn needs_restart(&self, new: &Config) -> Vec<&'static str> {
        let parts = [
            ("hostname", self.hostname != new.hostname),
            ("data_dir", self.data_dir != new.data_dir),
            ("[[listener]]", listeners(self, new) != new.listeners),
            ("[auth]", Auth { users: new.auth.users.clone(), ..self.auth.clone() } != new.auth),
            ("[admin]", self.admin != new.admin),
            ("[dns]", self.dns != new.dns),
            ("[delivery]", delivery(self, new) != new.delivery),
            ("[queue]", queue(self, new) != new.queue),
            ("[log]", self.log != new.log),
        ];
        parts.into_iter().filter(|(_, changed)| *changed).map(|(part, _)| part).collect()
    }
}

/// The listeners as they stand, with the new certificates.
fn listeners(config: &Config, new: &Config) -> Vec<Listener> {
    let mut listeners = config.listeners.clone();
    for listener in &mut listeners {
        let same = new.listeners.iter().find(|same| same.bind == listener.bind);
        if let (Some(tls), Some(files)) = (&mut listener.tls, same.and_then(|same| same.tls.as_ref())) {
            tls.certificate.clone_from(&files.certificate);
            tls.key.clone_from(&files.key);
        }
    }
    listeners
}

/// As it stands, with what dispatch takes over.
fn delivery(config: &Config, new: &Config) -> Delivery {
    let source_addresses = new.delivery.source_addresses.clone();
    Delivery { port: new.delivery.port, source_addresses, ..config.delivery.clone() }
}

/// Likewise.
fn queue(config: &Config, new: &Config) -> QueueLimits {
    QueueLimits { body_cache_bytes: new.queue.body_cache_bytes, ..config.queue.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(changes: &str, expected: &[&str]) {
        let parse = |text: &str| {
            let text = format!("hostname = \"mta.example.net\"\n{text}");
            Config::parse(&text, "posthaste.toml").unwrap_or_else(|errors| panic!("{text}\n{errors}"))
        };
        let old = parse(
            "[[listener]]\nbind = \"127.0.0.1:465\"\ntls = \"implicit\"\ntls_certificate = \"a.pem\"\nauth = \"required\"\n",
        );
        assert_eq!(old.needs_restart(&parse(changes)), expected, "{changes}");
    }

    #[test]
    fn what_a_reload_cannot_change_is_named() {
        let same = "[[listener]]\nbind = \"127.0.0.1:465\"\ntls = \"implicit\"\nauth = \"required\"\n";
        let renewed = format!("{same}tls_certificate = \"b.pem\"\n");
        check(&renewed, &[]);
        check(&format!("{renewed}max_errors = 5\n"), &["[[listener]]"]);
        check(&renewed.replace(":465", ":466"), &["[[listener]]"]);
        let reloaded = "[limits]\nrate = \"5/s\"\n[retry]\nschedule = [\"2m\"]\n[delivery]\nport = 26\n\
                        [queue]\nbody_cache = \"1MiB\"\n[auth]\nusers = \"others.toml\"\n";
        check(&format!("{renewed}{reloaded}"), &[]);
        let restarted = "[queue]\nmin_free = \"1MiB\"\n[delivery]\ndata_timeout = \"1m\"\n[dns]\ntimeout = \"1s\"\n\
                         [admin]\nbind = \"127.0.0.1:9\"\n[auth]\nmax_failures = 9\n[log]\nformat = \"json\"\n";
        let all = ["data_dir", "[auth]", "[admin]", "[dns]", "[delivery]", "[queue]", "[log]"];
        check(&format!("data_dir = \"/srv\"\n{renewed}{restarted}"), &all);
    }
}
