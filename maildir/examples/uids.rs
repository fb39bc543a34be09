//! Gives UIDs to the messages of a Maildir and prints them, as a server would before a client asks: `uids MAILDIR`. With
//! names of keywords behind, `uids MAILDIR work '$Forwarded'`, it gives those letters first.

use postrider_maildir::{Error, Maildir};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args_os().skip(1);
    let Some(path) = arguments.next() else {
        eprintln!("usage: uids MAILDIR [KEYWORD]...");
        std::process::exit(64);
    };
    let maildir = Maildir::open(path)?;
    for keyword in arguments {
        let letter = maildir.add_keyword(keyword.as_encoded_bytes())?;
        println!("{} {}", char::from(letter.octet()), keyword.display());
    }
    let mut update = maildir.update_uids()?;
    let listing = maildir.list()?;
    update.forget_missing(&listing);
    update.assign(&listing)?;
    let list = update.commit()?;
    println!("validity {} next {}", list.uid_validity(), list.next_uid());
    for entry in list.iter() {
        println!("{} {}", entry.uid(), entry.name().escape_ascii());
    }
    Ok(())
}
