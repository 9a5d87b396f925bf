use super::*;
use std::cell::{Cell, RefCell};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

/// A folder of its own, removed at the end, and what is kept of one file in it: a word that ends with a dot.
struct Bed {
    folder: PathBuf,
    file: PathBuf,
    kept: Kept<PathBuf, String>,
    made: Cell<u32>,
    told: RefCell<Vec<String>>,
}

impl Bed {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("evenkeel-files-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("file");
        Self { folder, file, kept: Kept::new(), made: Cell::new(0), told: RefCell::default() }
    }

    fn with(text: &str) -> Self {
        let bed = Self::new();
        fs::write(&bed.file, text).unwrap();
        bed
    }

    fn make(&self) -> Result<String, String> {
        self.made.set(self.made.get() + 1);
        let text = fs::read_to_string(&self.file).map_err(|error| error.kind().to_string())?;
        if text.ends_with('.') { Ok(text) } else { Err(format!("torn: {text}")) }
    }

    fn look_at(&self, now: SystemTime) -> Result<String, String> {
        let tell = |news: Result<(), &String>| {
            self.told.borrow_mut().push(news.map_or_else(String::clone, |()| "again".to_owned()));
        };
        self.kept.at(now, &self.file, &[&self.file], || self.make(), tell)
    }

    #[track_caller]
    fn assert(&self, value: &str, told: &[&str]) {
        // Looking once more tells nothing more.
        for _ in 0..3 {
            assert_eq!(self.look_at(SystemTime::now()).as_deref(), Ok(value));
        }
        assert_eq!(self.told.take(), told);
    }

    /// Another file in its place.
    fn replace(&self, text: &str) {
        let fresh = self.folder.join("fresh");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, &self.file).unwrap();
    }

    /// Gives the file the age that it is to have.
    fn date(&self, written: SystemTime) {
        File::options().write(true).open(&self.file).unwrap().set_modified(written).unwrap();
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

#[test]
fn a_file_that_stays_is_made_once_and_one_that_is_replaced_again() {
    let bed = Bed::with("one.");
    bed.assert("one.", &[]);
    assert_eq!(bed.look_at(later()).as_deref(), Ok("one."));
    assert_eq!(bed.made.get(), 1);
    bed.replace("second.");
    bed.assert("second.", &["again"]);
    assert_eq!(bed.made.get(), 2);
}

/// As a volume of Kubernetes is: the file is a link into `..data`, which is a link to a folder that is never written to again.
#[test]
fn a_link_that_leads_elsewhere_is_a_change() {
    let bed = Bed::new();
    let age = SystemTime::now();
    let swap = |name: &str, text: &str| {
        fs::create_dir(bed.folder.join(name)).unwrap();
        fs::write(bed.folder.join(name).join("file"), text).unwrap();
        let fresh = bed.folder.join("..data_tmp");
        std::os::unix::fs::symlink(name, &fresh).unwrap();
        fs::rename(fresh, bed.folder.join("..data")).unwrap();
    };
    swap("..1", "one.");
    std::os::unix::fs::symlink("..data/file", &bed.file).unwrap();
    bed.date(age);
    bed.assert("one.", &[]);
    // Of equal age and length; and the stamp alone shows it, however long it has been so.
    let before = Stamp::of(&bed.file).unwrap();
    bed.look_at(later()).unwrap();
    swap("..2", "two.");
    bed.date(age);
    let after = Stamp::of(&bed.file).unwrap();
    assert!(before.length == after.length && before.written == after.written && before != after);
    bed.assert("two.", &["again"]);
    // The same in another folder is no news.
    swap("..3", "two.");
    bed.assert("two.", &[]);
    assert_eq!(bed.made.get(), 2);
}

#[test]
fn one_of_the_same_age_and_length_is_seen() {
    let (bed, age) = (Bed::with("one."), SystemTime::now());
    bed.date(age);
    bed.assert("one.", &[]);
    bed.look_at(later()).unwrap();
    bed.replace("two.");
    bed.date(age);
    bed.assert("two.", &["again"]);
    // Written over, at once: the clock of the files may not have gone on.
    fs::write(&bed.file, "six.").unwrap();
    bed.date(age);
    bed.assert("six.", &["again"]);
    // And later, when nothing but the stamp is looked at.
    bed.look_at(later()).unwrap();
    let (before, until) = (Stamp::of(&bed.file), Instant::now() + Duration::from_secs(20));
    while Stamp::of(&bed.file) == before {
        assert!(Instant::now() < until, "the clock of the files stands still");
        fs::write(&bed.file, "ten.").unwrap();
        bed.date(age);
    }
    bed.assert("ten.", &["again"]);
}

#[test]
fn half_a_write_leaves_what_was_and_the_other_half_is_taken() {
    let bed = Bed::with("one.");
    bed.assert("one.", &[]);
    fs::write(&bed.file, "").unwrap();
    bed.assert("one.", &["torn: "]);
    fs::write(&bed.file, "sec").unwrap();
    bed.assert("one.", &["torn: sec"]);
    fs::write(&bed.file, "second.").unwrap();
    bed.assert("second.", &["again"]);
}

#[test]
fn a_file_that_goes_and_comes_back_is_told_of_twice() {
    let bed = Bed::with("one.");
    bed.assert("one.", &[]);
    fs::remove_file(&bed.file).unwrap();
    bed.assert("one.", &["entity not found"]);
    fs::write(&bed.file, "one.").unwrap();
    bed.assert("one.", &["again"]);
}

#[test]
fn what_fails_for_a_moment_is_tried_again_though_the_file_stays() {
    let bed = Bed::with("one.");
    bed.assert("one.", &[]);
    bed.replace("two.");
    let told = Cell::new(0);
    let tell = |news: Result<(), &&str>| told.set(told.get() + u32::from(news.is_err()));
    for _ in 0..2 {
        let value = bed.kept.at(later(), &bed.file, &[&bed.file], || Err("no descriptors"), tell);
        assert_eq!(value.as_deref(), Ok("one."));
    }
    assert_eq!(told.get(), 1);
    bed.assert("two.", &["again"]);
}

#[test]
fn what_was_never_good_is_an_error_and_other_files_are_not_used_instead() {
    let bed = Bed::new();
    for _ in 0..2 {
        assert_eq!(bed.look_at(SystemTime::now()), Err("entity not found".to_owned()));
    }
    fs::write(&bed.file, "one.").unwrap();
    bed.assert("one.", &[]);
    let other = bed.folder.join("other");
    let now = bed.kept.now(&other, &[&other], || Err(()), |_| panic!("it is the first time"));
    assert_eq!(now, Err(()));
    bed.assert("one.", &[]);
    assert!(!format!("{:?}", bed.kept).contains("one"));
}

#[test]
fn a_stamp_is_trusted_when_the_clock_has_gone_on() {
    let bed = Bed::with("one.");
    let stamp = Stamp::of(&bed.file).unwrap();
    let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(stamp.changed.0).unwrap());
    for (now, settled) in [(changed, false), (changed + GRAIN, false), (changed + GRAIN * 2, true)] {
        assert_eq!(stamp.is_settled(now), settled);
    }
    assert!(!stamp.is_settled(UNIX_EPOCH), "a clock that was set back");
    assert_eq!(Stamp::of(&bed.folder.join("missing")), None);
}
