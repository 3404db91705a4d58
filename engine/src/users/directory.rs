//! The users as the running engine knows them: read at the start, and again when the file has changed.

use super::{Users, UsersError};
use crate::look::Look;
use smtp::sasl::server::{Finding, Inquiry};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Shared by the threads that look users up (which read) and the watch (which replaces).
#[derive(Debug)]
pub(crate) struct Directory {
    current: RwLock<Arc<Users>>,
    source: Mutex<(PathBuf, Look)>,
    secret: [u8; 32],
}

/// What came of a look at the file.
#[derive(Debug)]
pub(crate) enum Renewal {
    /// It is as it was.
    Unchanged,
    /// So many users now.
    Renewed(usize),
    /// It has changed and cannot be used: the old users stay.
    Failed(UsersError),
}

impl Directory {
    pub(crate) fn load(path: &Path) -> Result<Arc<Directory>, UsersError> {
        let source = Mutex::new((path.to_owned(), Look::at(&[path])));
        let current = RwLock::new(Arc::new(Users::load(path)?));
        Ok(Arc::new(Directory { current, source, secret: crate::tls::random() }))
    }

    pub(crate) fn users(&self) -> Arc<Users> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Slow where a password has to be checked.
    pub(crate) fn find(&self, inquiry: &Inquiry) -> Finding {
        self.users().find(inquiry, &self.secret)
    }

    /// Reads this file from now on if said, and in any case; else the old one if it looks different.
    pub(crate) fn refresh(&self, path: Option<&Path>) -> Renewal {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = Look::at(&[path.unwrap_or(&source.0)]);
        match path {
            Some(path) => source.0 = path.to_owned(),
            None if seen == source.1 => return Renewal::Unchanged,
            None => {}
        }
        source.1 = seen;
        match Users::load(&source.0) {
            Ok(users) => {
                let count = users.iter().count();
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(users);
                Renewal::Renewed(count)
            }
            Err(error) => Renewal::Failed(error),
        }
    }
}
