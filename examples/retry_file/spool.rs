//! The files: which lines are where, and that none is lost when the process or the machine goes down. Nothing here knows
//! what a line says.
//!
//! | file | what is in it |
//! |---|---|
//! | `retry` | records that could not be delivered, to be sent again |
//! | `sending` | what a re-send pass works on: it was `retry` until the pass began |
//! | `ok` | records that a re-send pass delivered |
//! | `rejected` | what sending again cannot help: too large, no such partition; lines that cannot be read |
//!
//! ```text
//!   append ──► retry ── rename ──► sending ──┬──► ok, rejected      (appended, and on disk)
//!                 ▲                          ├──► retry             (failed again)
//!                 └──────────────────────────┘    then `sending` is deleted
//! ```
//!
//! A line is in a file, on disk, before it is deleted from the one that it was in. So a crash at any point loses no line,
//! and may leave one in two files: when the process ends before `sending` is deleted, the next pass begins with all of
//! `sending` once more, and what it had delivered is delivered twice. That is *at least once*. Appending is not atomic
//! either: a crash may leave a part of a line at the end of a file, which is cut off when the files are next opened, since
//! the append that it belongs to had not returned.
//!
//! One process at a time may use a folder: on Unix the second one is refused, elsewhere it is not noticed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Bytes read at a time when the end of the last whole line is looked for.
const BLOCK: u64 = 4096;

#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    retry: File,
    ok: File,
    rejected: File,
    /// Released when the process ends, in whichever way.
    _lock: Lock,
}

/// Lines, each with its line feed, to be appended together.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) retry: String,
    pub(crate) ok: String,
    pub(crate) rejected: String,
}

impl Spool {
    /// Opens the files, and creates what is not there.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let lock = Lock::take(&folder.join("lock"))?;
        let open = |name: &str| open_for_appending(&folder.join(name));
        let spool = Self {
            retry: open("retry")?,
            ok: open("ok")?,
            rejected: open("rejected")?,
            folder: folder.to_owned(),
            _lock: lock,
        };
        spool.sync_names()?;
        Ok(spool)
    }

    /// When it returns, the lines are on disk.
    pub(crate) fn append(&mut self, lines: &Lines) -> io::Result<()> {
        let files = [
            (&mut self.retry, &lines.retry),
            (&mut self.ok, &lines.ok),
            (&mut self.rejected, &lines.rejected),
        ];
        for (file, lines) in files {
            if !lines.is_empty() {
                file.write_all(lines.as_bytes())?;
                file.sync_data()?;
            }
        }
        Ok(())
    }

    /// Whether a pass began and did not finish.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.sending().exists()
    }

    /// Begins a pass, or an interrupted one again, and gives its lines.
    pub(crate) fn begin(&mut self) -> io::Result<BufReader<File>> {
        if !self.is_interrupted() {
            let retry = self.folder.join("retry");
            fs::rename(&retry, self.sending())?;
            // What fails from now on goes to a new file.
            self.retry = open_for_appending(&retry)?;
            self.sync_names()?;
        }
        Ok(BufReader::new(File::open(self.sending())?))
    }

    /// Ends a pass, each line of which has been appended to another file.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        fs::remove_file(self.sending())?;
        self.sync_names()
    }

    fn sending(&self) -> PathBuf {
        self.folder.join("sending")
    }

    /// Makes creations, renames and deletions last.
    fn sync_names(&self) -> io::Result<()> {
        // Elsewhere a folder cannot be opened, and need not be.
        if cfg!(unix) { File::open(&self.folder)?.sync_all() } else { Ok(()) }
    }
}

fn open_for_appending(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let (length, whole) = (file.metadata()?.len(), end_of_lines(&mut file)?);
    if whole < length {
        tracing::warn!("{} bytes of a line cut off from {}", length - whole, path.display());
        file.set_len(whole)?;
        file.sync_data()?;
    }
    Ok(file)
}

/// Where the last whole line ends.
fn end_of_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let mut block = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        Read::by_ref(file).take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// That no other process has the folder.
#[cfg(unix)]
#[derive(Debug)]
struct Lock(#[expect(dead_code, reason = "it is held")] nix::fcntl::Flock<File>);

#[cfg(unix)]
impl Lock {
    fn take(path: &Path) -> io::Result<Self> {
        use nix::fcntl::{Flock, FlockArg};
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let locked = Flock::lock(file, FlockArg::LockExclusiveNonblock);
        locked.map(Self).map_err(|(_, error)| {
            let message = format!("another process has {}: {error}", path.display());
            io::Error::new(io::ErrorKind::WouldBlock, message)
        })
    }
}

#[cfg(not(unix))]
#[derive(Debug)]
struct Lock;

#[cfg(not(unix))]
impl Lock {
    fn take(_: &Path) -> io::Result<Self> {
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of one test, gone at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("spool-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }

        fn write(&self, name: &str, text: &str) {
            fs::create_dir_all(&self.0).unwrap();
            fs::write(self.0.join(name), text).unwrap();
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn retry(text: &str) -> Lines {
        Lines { retry: text.to_owned(), ..Lines::default() }
    }

    fn text(mut lines: BufReader<File>) -> String {
        let mut text = String::new();
        lines.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_pass_moves_lines_and_new_failures_go_to_a_new_file() {
        let folder = Folder::new("moves");
        let mut spool = Spool::open(&folder.0).unwrap();
        spool.append(&retry("a\n")).unwrap();
        spool.append(&retry("b\nc\n")).unwrap();

        assert_eq!(text(spool.begin().unwrap()), "a\nb\nc\n");
        spool.append(&retry("d\n")).unwrap();
        let ends = Lines { retry: "b\n".into(), ok: "a\n".into(), rejected: "c\n".into() };
        spool.append(&ends).unwrap();
        assert!(spool.is_interrupted());
        spool.finish().unwrap();

        assert!(!spool.is_interrupted());
        assert_eq!(folder.read("retry"), "d\nb\n");
        assert_eq!((folder.read("ok"), folder.read("rejected")), ("a\n".into(), "c\n".into()));
    }

    #[test]
    fn a_pass_that_was_cut_short_begins_again_with_all_of_it() {
        let folder = Folder::new("cut-short");
        folder.write("sending", "a\nb\n");
        folder.write("retry", "b\n");
        folder.write("ok", "a\n");
        let mut spool = Spool::open(&folder.0).unwrap();
        assert!(spool.is_interrupted());
        assert_eq!(text(spool.begin().unwrap()), "a\nb\n");
        assert_eq!(folder.read("retry"), "b\n", "it waits for the next pass");
        spool.finish().unwrap();
        assert_eq!(text(spool.begin().unwrap()), "b\n");
    }

    #[test]
    fn a_torn_line_is_cut_off_and_what_follows_is_whole() {
        let long = "x".repeat(3 * BLOCK as usize);
        for (before, after) in [
            ("a\nb", "a\n"),
            ("torn", ""),
            ("", ""),
            ("a\n", "a\n"),
            (&*format!("a\n{long}"), "a\n"),
            (&*format!("{long}\n{long}"), &*format!("{long}\n")),
        ] {
            let folder = Folder::new("torn");
            folder.write("retry", before);
            let mut spool = Spool::open(&folder.0).unwrap();
            spool.append(&retry("next\n")).unwrap();
            assert_eq!(folder.read("retry"), format!("{after}next\n"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_has_one_user() {
        let folder = Folder::new("lock");
        let first = Spool::open(&folder.0).unwrap();
        let error = Spool::open(&folder.0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(error.to_string().contains("another process has"), "{error}");
        drop(first);
        Spool::open(&folder.0).unwrap();
    }
}
