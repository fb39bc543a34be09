//! Alone in its process, whose descriptors it uses up.
#![cfg(target_os = "linux")]

use std::time::Duration;

use postrider_maildir::{Maildir, Watch};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn where_no_more_can_be_watched_the_caller_hears_it_and_can_poll() {
    let scratch = tempfile::tempdir().unwrap();
    let maildir = Maildir::create(scratch.path().join("m")).unwrap();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..before }).unwrap();
    let watches: Vec<_> = (0..100).map(|_| Watch::new()).take_while(Result::is_ok).collect();
    let error = Watch::new().unwrap_err();
    assert!((1..64).contains(&watches.len()));
    assert!(error.is_watch_limit() && !error.is_out_of_space(), "{error}");
    let mut watch = Watch::polling(Duration::from_secs(1));
    assert!(watch.add(&maildir).is_ok());
}
