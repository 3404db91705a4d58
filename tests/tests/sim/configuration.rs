//! The configuration as an operator writes it: first, and anew before each reload.

use crate::scenario::{CALM_SITE, HostPlan, Mx, Scenario, SitePlan};
use engine::config::Config;
use std::sync::Arc;

/// What an operator may do for a while, beside setting other limits.
#[derive(Clone, Copy, Default)]
pub struct Wishes {
    /// Keep the mail for some sites here.
    pub suspend: bool,
    /// Send the mail for some domains to a host of another site.
    pub routes: bool,
}

impl Scenario {
    pub fn configuration(&self, rng: &mut fastrand::Rng, wishes: Wishes) -> Arc<Config> {
        let routes = if wishes.routes && !self.plan.is_flood { self.routes(rng) } else { String::new() };
        let mut text = self.head(rng);
        for (number, site) in self.sites.iter().enumerate().filter(|(number, _)| *number != CALM_SITE) {
            if self.plan.is_flood || rng.bool() {
                text += &self.rule(rng, number, site, !routes.is_empty());
                if wishes.suspend && rng.u8(..3) == 0 {
                    text += "suspend = true\n";
                }
            }
        }
        text += &routes;
        let config = Config::parse(&text, "sim.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        Arc::new(config)
    }

    fn head(&self, rng: &mut fastrand::Rng) -> String {
        let (expire, notify_delay) = (pick(rng, &["30m", "6h", "3d"]), pick(rng, &["0s", "1m", "1h"]));
        format!(
            "hostname = \"mta.sim.example\"\ndata_dir = \"/nowhere\"\n\
             [retry]\nschedule = [\"1m\", \"5m\", \"15m\", \"1h\"]\nexpire = \"{expire}\"\n\
             notify_delay = \"{notify_delay}\"\njitter = 0.2\n\
             [queue]\nbody_cache = \"{}\"\n\
             [limits]\nconnections = {}\ntls = \"opportunistic\"\npipelining = \"{}\"\n",
            self.body_cache,
            pick(rng, &["2", "5", "20"]),
            pick(rng, &["transaction", "stream"]),
        )
    }

    /// A `[[site]]`. Some name the MX hosts, others domains: those form a site of their own, and all or one of them leave
    /// the site of their hosts.
    fn rule(&self, rng: &mut fastrand::Rng, number: usize, site: &SitePlan, has_routes: bool) -> String {
        let pattern = match rng.u8(..4) {
            0 | 1 => format!("mx = [\"*.site{number}.example\"]"),
            2 => format!("domain = [\"*.of{number}.example\"]"),
            _ => format!("domain = [\"d0.of{number}.example\"]"),
        };
        let (rate, connection_rate) = match self.plan.is_flood {
            true => ("unlimited", "unlimited"),
            false => (pick(rng, &["unlimited", "30/m", "5/s", "100/m"]), pick(rng, &["unlimited", "2/s", "30/m"])),
        };
        // A route may lead to a host of others, that may know nothing of TLS.
        let secure = !has_routes && site.hosts.iter().all(|(_, host)| self.hosts[*host].starttls);
        format!(
            "[[site]]\nmatch = {{ {pattern} }}\nconnections = {}\nmessages_per_connection = {}\nrate = \"{rate}\"\n\
             connection_rate = \"{connection_rate}\"\nrecipients_per_message = {}\nidle_timeout = \"{}\"\n\
             tls = \"{}\"\npipelining = \"{}\"\n",
            pick(rng, &["1", "2", "10"]),
            pick(rng, &["1", "3", "100"]),
            pick(rng, &["1", "2", "50"]),
            pick(rng, &["100ms", "5s", "1m"]),
            if secure { "required" } else { "opportunistic" },
            pick(rng, &["off", "transaction", "stream"]),
        )
    }

    fn routes(&self, rng: &mut fastrand::Rng) -> String {
        let domains = self.domains.iter().filter(|d| matches!(d.mx, Mx::Site(site) if site != CALM_SITE));
        let mut text = String::new();
        for domain in domains {
            if rng.u8(..3) == 0 {
                let HostPlan { name, .. } = &self.hosts[rng.usize(..self.hosts.len())];
                text += &format!("[[route]]\ndomain = [\"{}\"]\nvia = \"smtp://{name}:25\"\n", domain.name);
            }
        }
        text
    }
}

fn pick<'a>(rng: &mut fastrand::Rng, list: &[&'a str]) -> &'a str {
    list[rng.usize(..list.len())]
}
