//! Sending records so that each ends in a known place: with the broker, or in a file. Few are kept in memory at a time.

use std::collections::VecDeque;
use std::error::Error;
use std::io::BufRead;

use milena::{Delivery, DeliveryError, Persistence, Producer, RecordMetadata, SendError};
use tokio::task::block_in_place;

use crate::record::StoredRecord;
use crate::spool::{Lines, Spool};

/// Records that are copied and kept until their end is known.
const OPEN: usize = 10_000;

/// Lines written to disk together.
const TOGETHER: usize = 1000;

/// How many records ended where.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) delivered: usize,
    pub(crate) retry: usize,
    pub(crate) rejected: usize,
}

/// Sends each record, and spools those that are not delivered. When it returns without an error, each is on disk or
/// acknowledged.
pub(crate) async fn send(
    producer: &Producer,
    spool: &mut Spool,
    records: impl Iterator<Item = StoredRecord>,
) -> Result<Tally, Box<dyn Error>> {
    let mut delivering = Delivering::new(producer, spool, false);
    for record in records {
        delivering.accept(record).await?;
    }
    delivering.end().await
}

/// Sends what waits in the retry file: what is delivered moves to `ok`, what fails again back to `retry`. A pass that a
/// crash cut short is made first, as a whole.
pub(crate) async fn resend(
    producer: &Producer,
    spool: &mut Spool,
) -> Result<Tally, Box<dyn Error>> {
    let mut all = Tally::default();
    if spool.is_interrupted() {
        tracing::warn!("a pass was cut short; what it delivered is sent again");
        all = pass(producer, spool).await?;
        // What failed once more is in `retry` now, and has another try in the next pass.
        all.retry = 0;
    }
    let Tally { delivered, retry, rejected } = pass(producer, spool).await?;
    Ok(Tally {
        delivered: all.delivered + delivered,
        retry: all.retry + retry,
        rejected: all.rejected + rejected,
    })
}

async fn pass(producer: &Producer, spool: &mut Spool) -> Result<Tally, Box<dyn Error>> {
    let lines = block_in_place(|| spool.begin())?;
    let mut delivering = Delivering::new(producer, spool, true);
    for line in lines.split(b'\n') {
        let line = line?;
        match StoredRecord::from_line(&line) {
            Ok(record) => delivering.accept(record).await?,
            // As it is, so that somebody may mend it.
            Err(problem) => delivering.unreadable(&line, &problem)?,
        }
    }
    let tally = delivering.end().await?;
    block_in_place(|| spool.finish())?;
    Ok(tally)
}

struct Delivering<'a> {
    producer: &'a Producer,
    spool: &'a mut Spool,
    /// Whether records that are delivered are noted.
    again: bool,
    open: VecDeque<(StoredRecord, Delivery)>,
    lines: Lines,
    waiting: usize,
    tally: Tally,
}

impl<'a> Delivering<'a> {
    fn new(producer: &'a Producer, spool: &'a mut Spool, again: bool) -> Self {
        Self {
            producer,
            spool,
            again,
            open: VecDeque::new(),
            lines: Lines::default(),
            waiting: 0,
            tally: Tally::default(),
        }
    }

    async fn accept(&mut self, record: StoredRecord) -> Result<(), Box<dyn Error>> {
        let sent = self.producer.send(&record.to_send(&record.headers())).await;
        match sent {
            Ok(delivery) => self.open.push_back((record, delivery)),
            Err(error) => self.refused(&record, &error)?,
        }
        if self.open.len() >= OPEN { self.settle_first().await } else { Ok(()) }
    }

    async fn end(mut self) -> Result<Tally, Box<dyn Error>> {
        while !self.open.is_empty() {
            self.settle_first().await?;
        }
        self.write()?;
        Ok(self.tally)
    }

    async fn settle_first(&mut self) -> Result<(), Box<dyn Error>> {
        let Some((record, delivery)) = self.open.pop_front() else { return Ok(()) };
        match delivery.await {
            Ok(metadata) => self.delivered(&record, &metadata),
            Err(error) => self.failed(&record, &error),
        }
    }

    fn delivered(
        &mut self,
        record: &StoredRecord,
        metadata: &RecordMetadata,
    ) -> Result<(), Box<dyn Error>> {
        self.tally.delivered += 1;
        if !self.again {
            return Ok(());
        }
        let partition = metadata.partition();
        let note = match metadata.offset() {
            Some(offset) => format!("ok: {partition}@{offset}"),
            None => format!("ok: {partition}"),
        };
        self.lines.ok += &record.to_line(&note);
        self.line_added()
    }

    /// Accepted, and then not acknowledged. What may have been written may be doubled by sending it again; the note says
    /// so, for whoever cannot have that.
    fn failed(
        &mut self,
        record: &StoredRecord,
        error: &DeliveryError,
    ) -> Result<(), Box<dyn Error>> {
        let written = match error.persistence() {
            Persistence::NotWritten => "not written",
            Persistence::MaybeWritten => "maybe written",
        };
        self.tally.retry += 1;
        self.lines.retry += &record.to_line(&format!("{written}: {error}"));
        self.line_added()
    }

    /// Not accepted: because of the record itself, or because of the cluster or the producer, which may pass.
    fn refused(&mut self, record: &StoredRecord, error: &SendError) -> Result<(), Box<dyn Error>> {
        let hopeless = matches!(
            error,
            SendError::InvalidTopic { .. }
                | SendError::InvalidPartition { .. }
                | SendError::InvalidTimestamp { .. }
                | SendError::RecordTooLarge { .. }
        );
        if hopeless {
            self.tally.rejected += 1;
            self.lines.rejected += &record.to_line(&format!("rejected: {error}"));
        } else {
            self.tally.retry += 1;
            self.lines.retry += &record.to_line(&format!("not written: {error}"));
        }
        self.line_added()
    }

    fn unreadable(&mut self, line: &[u8], problem: &str) -> Result<(), Box<dyn Error>> {
        tracing::warn!("a line of the retry file cannot be read: {problem}");
        self.tally.rejected += 1;
        self.lines.rejected += &String::from_utf8_lossy(line);
        self.lines.rejected.push('\n');
        self.line_added()
    }

    fn line_added(&mut self) -> Result<(), Box<dyn Error>> {
        self.waiting += 1;
        if self.waiting >= TOGETHER { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Box<dyn Error>> {
        let lines = std::mem::take(&mut self.lines);
        self.waiting = 0;
        Ok(block_in_place(|| self.spool.append(&lines))?)
    }
}
