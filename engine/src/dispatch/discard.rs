//! Mail that a route throws away: settled as delivered, with a reply that says what became of it.
//!
//! It comes here as to any site, ready list, limits on memory and all, only that its turn takes no connection.

use super::outcome::Trace;
use super::site::SiteId;
use super::{Dispatch, Kind};
use smtp::Reply;
use smtp::reply::EnhancedCode;

impl Dispatch {
    /// Settles everything whose content is in memory: the event log tells sender and recipient.
    pub(super) fn discard(&mut self, id: SiteId) {
        while let Some(delivery) = self.first_warm(id) {
            for held in std::mem::take(&mut self.messages.deliveries[delivery as usize].entries) {
                let recipients = self.withdraw(held);
                let reply = self.discarded(held);
                let trace = Trace::of_site(self.sites[id as usize].name.clone());
                for position in recipients.iter() {
                    self.tell(held, position, Kind::Delivered, Some(reply.clone()), &trace);
                }
                self.settle(held, recipients, None);
            }
            self.sites[id as usize].warm.pop_front();
            self.end_delivery(delivery);
        }
    }

    fn discarded(&self, held: u32) -> Reply {
        let domain = &self.domains[self.messages.held[held as usize].domain].name;
        let origin = self.config.route(domain.as_str()).map_or("an earlier configuration", |rule| &rule.origin);
        Reply::new(250, EnhancedCode(2, 0, 0), format!("discarded: the [[route]] in {origin} says so"))
    }
}
