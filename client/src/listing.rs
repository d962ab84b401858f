//! Listing what the server holds for a session, page by page.

use std::time::{Duration, SystemTime};

use bowline_core::link::{self, List, ListFilter, ObjectKind, ObjectStatus};
use bowline_core::peer::{Connection, SessionError};

/// A request for what the server holds for a session, answered page by page. See
/// [`Session::list`](crate::Session::list).
///
/// ```no_run
/// use bowline_client::{ObjectStatus, Session};
///
/// # async fn run(session: Session) -> Result<(), Box<dyn std::error::Error>> {
/// let mut pending = session.list().status(ObjectStatus::Pending).page_size(50);
/// while let Some(page) = pending.next_page().await? {
///     for entry in page {
///         println!("{} was made at {:?}", entry.id, entry.created_at);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is requested before `next_page`"]
#[derive(Debug)]
pub struct ObjectPages {
    connection: Connection,
    filter: ListFilter,
    page_size: Option<usize>,
    next: Next,
}

/// Where the next page begins.
#[derive(Debug)]
enum Next {
    Start,
    After(String),
    End,
}

/// An object or the result of a call that the server holds for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectEntry {
    /// The id in messages.
    pub id: i64,
    /// Whether it is an object or a result.
    pub kind: ObjectKind,
    /// The name of the object's restorer, if it is durable.
    pub name: Option<String>,
    /// The status of the object or call.
    pub status: ObjectStatus,
    /// The id of the entry that a pending call was made on, if that is listed, too.
    pub parent_id: Option<i64>,
    /// The time of creation, exact to about a second; `None` if the server does not know it.
    pub created_at: Option<SystemTime>,
    /// The reference count.
    pub mentions: i64,
}

impl ObjectPages {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, filter: ListFilter::default(), page_size: None, next: Next::Start }
    }

    /// Lists only entries of this kind.
    pub fn kind(mut self, kind: ObjectKind) -> Self {
        self.filter.kind = Some(kind);
        self
    }

    /// Lists only entries of this status. If it is called more than once, entries of each of these.
    pub fn status(mut self, status: ObjectStatus) -> Self {
        self.filter.status.push(status);
        self
    }

    /// Lists only entries that were created at this time or later.
    pub fn created_after(mut self, time: SystemTime) -> Self {
        self.filter.created_after = Some(unix_ms(time));
        self
    }

    /// Lists only entries that were created before this time.
    pub fn created_before(mut self, time: SystemTime) -> Self {
        self.filter.created_before = Some(unix_ms(time));
        self
    }

    /// Begins after the page whose [`cursor`](Self::cursor) this is, for example in another process.
    pub fn after(mut self, cursor: impl Into<String>) -> Self {
        self.next = Next::After(cursor.into());
        self
    }

    /// Returns the cursor of the last page that was returned; `None` before the first page and after the
    /// last.
    pub fn cursor(&self) -> Option<&str> {
        match &self.next {
            Next::After(cursor) => Some(cursor),
            Next::Start | Next::End => None,
        }
    }

    /// Sets the number of entries in a page: 100 by default, and at most 1,000.
    pub fn page_size(mut self, entries: usize) -> Self {
        self.page_size = Some(entries);
        self
    }

    /// Returns the next page, or `None` after the last one. Entries are in order of creation, results of
    /// calls before objects. Cancel-safe: a page that was not returned is requested again.
    ///
    /// # Errors
    /// Returns a [`SessionError`] if the session has ended, or if the server does not support listing.
    pub async fn next_page(&mut self) -> Result<Option<Vec<ObjectEntry>>, SessionError> {
        let cursor = match &self.next {
            Next::Start => None,
            Next::After(cursor) => Some(cursor.clone()),
            Next::End => return Ok(None),
        };
        let list = List { request_id: 0, filter: self.filter.clone(), limit: self.page_size, cursor };
        let answer = self.connection.list(list).await?;
        self.next = answer.next_cursor.map_or(Next::End, Next::After);
        Ok(Some(answer.objects.into_iter().map(ObjectEntry::from).collect()))
    }
}

impl From<link::ObjectEntry> for ObjectEntry {
    fn from(entry: link::ObjectEntry) -> Self {
        let link::ObjectEntry { id, kind, name, status, parent_id, created_at, mentions } = entry;
        let created_at = created_at.and_then(|ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
        Self { id, kind, name, status, parent_id, created_at, mentions }
    }
}

/// Returns a time in milliseconds since 1970; earlier times are 0.
fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}
