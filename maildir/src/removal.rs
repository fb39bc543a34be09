use crate::calls;
use crate::error::Error;
use crate::maildir::Maildir;
use crate::message::{CHASES, Message};

impl Maildir {
    /// Removes many messages. Where others have renamed some of them, the directories are read once for all and not once for each, as
    /// [`Message::remove`] has to. The results stand in the order of `messages`.
    ///
    /// Not synced: after a crash some may be back.
    ///
    /// ```
    /// use postrider_maildir::Maildir;
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let path = scratch.path().join("Maildir");
    /// let maildir = Maildir::create(path)?;
    /// maildir.delivery()?.commit()?;
    /// let messages = maildir.list()?.iter().map(|entry| maildir.message(&entry)).collect();
    /// assert!(maildir.remove_all(messages).iter().all(Result::is_ok));
    /// assert!(maildir.list()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn remove_all(&self, messages: Vec<Message>) -> Vec<Result<(), Error>> {
        let mut results: Vec<_> = messages.iter().map(|message| calls::remove(&message.path())).collect();
        for _ in 1..CHASES {
            let missing = |result: &Result<(), Error>| result.as_ref().is_err_and(Error::is_missing);
            if !results.iter().any(missing) {
                break;
            }
            // One that is missed again was moved since this listing; one that is not in it is gone.
            let listing = self.list();
            for (message, result) in messages.iter().zip(&mut results).filter(|(_, result)| missing(result)) {
                *result = match &listing {
                    Ok(listing) => match listing.find(message.name().base()) {
                        Some(entry) => calls::remove(&self.message(&entry).path()),
                        None => Err(message.gone()),
                    },
                    Err(error) => Err(error.again(self.path())),
                };
            }
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn those_that_others_have_renamed_or_removed_are_found_with_one_listing() {
        let scratch = tempfile::tempdir().unwrap();
        let maildir = Maildir::create(scratch.path().join("m")).unwrap();
        for number in 0..300 {
            fs::write(maildir.path().join(format!("new/{number}.M{number}P1.host")), "x").unwrap();
        }
        let messages: Vec<_> = maildir.list().unwrap().iter().map(|entry| maildir.message(&entry)).collect();
        let (mut gone, mut kept) = (0, 0);
        for (number, message) in messages.iter().enumerate() {
            match number % 3 {
                0 => fs::remove_file(message.path()).map(|()| gone += 1).unwrap(),
                1 => {
                    let name = [message.name().base().escape_ascii().to_string().as_str(), ":2,FRST"].concat();
                    fs::rename(message.path(), maildir.path().join("cur").join(name)).unwrap();
                }
                _ => kept += 1,
            }
        }
        let results = maildir.remove_all(messages);
        assert_eq!(results.iter().filter(|result| result.as_ref().is_err_and(Error::is_gone)).count(), gone);
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 300 - gone);
        assert!(kept > 0 && maildir.list().unwrap().is_empty());
    }
}
