//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};
use postrider_smtp_proto::{
    Attributes, Body, ClientName, Command, ForwardPath, LineEndings, OriginalRecipient, ParameterList, ReversePath,
    Secret, ValueError, Verb,
};

use super::failure::Failure;
use super::login::Credentials;
use super::stream::{Address, Trust};

/// What `--help` says.
pub const USAGE: &str = "\
usage: smtp-send [OPTIONS] HOST[:PORT] [FILE]
Sends the message in FILE, or in standard input, and prints a line for each recipient. HOST may be a socket's path, beginning with a slash.

who:
  --from ADDRESS          where reports go; `<>`: nowhere
  --to ADDRESS            a recipient; may be repeated
  --helo NAME             what we call ourselves (our host's name, or our address)
how:
  --lmtp                  LMTP instead of SMTP
  --tls                   TLS from the first octet
  --starttls WHEN         try (default), require or never
  --verify                the server's certificate must be one the system trusts
  --ca FILE               it must be one in this PEM file, or signed by one
  --tls-name NAME         whose certificate it must be (HOST)
  --cert FILE --key FILE  our own certificate, for servers that want one
  --user NAME             log in; the password is in SMTP_PASSWORD or in
  --password-file FILE    its first line
  --mechanism NAME        SCRAM-SHA-256, SCRAM-SHA-1, PLAIN, LOGIN, EXTERNAL, XOAUTH2 or OAUTHBEARER (the best that is offered of the first four)
  --allow-unverified      show the password within TLS without --verify or --ca too: PLAIN, LOGIN, XOAUTH2 and OAUTHBEARER do
  --allow-plaintext       show it without TLS too
  --xclient ATTRIBUTES    NAME=VALUE ...: be somebody else, where the server lets us
  --xforward ATTRIBUTES   NAME=VALUE ...: say where the message came from
  --timeout SECONDS       for each reply, read and write (what RFC 5321 wants: minutes)
the message:
  --bdat                  with BDAT where it is offered
  --chunk OCTETS          of so much of the file, up to 2097152 (65536)
  --body KIND             7bit, 8bit or binary, which goes as it is (by what is in it)
  --smtputf8              announce UTF-8 in the header (by what is in it and the addresses)
  --no-smtputf8           never do
  --no-size               do not say its size
  --line-endings HOW      normalise (default): CR and LF alone become CRLF; reject
parameters; those the server does not offer are left out where that does no harm:
  --ret full|hdrs  --envid ID  --by SECONDS;N|R[T]  --hold-for SECONDS  --hold-until TIME  --priority N  --requiretls  --prdr
  --mail-parameter KEYWORD[=VALUE]
for the recipient before them, or before the first --to for all:
  --notify never|success,failure,delay  --orcpt [TYPE;]ADDRESS  --rrvs TIME[;C|R]
  --rcpt-parameter KEYWORD[=VALUE]
to look at a server:
  -v, --verbose           what both sides say, on standard error; no passwords, no content
  --quit-after STAGE      connect, ehlo, mail or rcpt: go so far, without a message
  --command LINE          send this too, as in `VRFY anna`, and print the reply; may be repeated
  --json                  an object for each recipient instead of a line
  -h, --help  -V, --version

exit status: 0 all is taken; 64 usage; 65 the message cannot go there; 69 somebody is refused for good; 74 a file or the network;
75 somebody is refused for now; 76 the server does not keep to the protocol, or TLS fails; 77 the login is refused
";

/// Octets of a chunk at most: some of them must fit into memory.
const MAX_CHUNK: usize = 2 * 1024 * 1024;

/// What is to be done.
#[derive(Debug)]
pub enum Task {
    /// Say how it is used.
    Help,
    /// Send, or look at a server.
    Send(Box<Arguments>),
    /// Say which version it is.
    Version,
}

/// When `STARTTLS` is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartTls {
    /// Not at all.
    Never,
    /// Always.
    Require,
    /// Where it is offered.
    #[default]
    Try,
}

/// Where a session ends without a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// After the greeting.
    Connect,
    /// After `EHLO`, `STARTTLS` and the login.
    Ehlo,
    /// After `MAIL`.
    Mail,
    /// After each `RCPT`.
    Rcpt,
}

/// Somebody the message is for.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The path, in brackets.
    pub path: String,
    /// What is said with it.
    pub parameters: ParameterList,
}

/// What the command line says.
#[derive(Debug, Default)]
pub struct Arguments {
    /// Where the server is.
    pub address: Option<Address>,
    /// The message; `None` is standard input.
    pub file: Option<PathBuf>,
    /// The reverse path, in brackets.
    pub from: Option<String>,
    /// Whom the message is for.
    pub recipients: Vec<Recipient>,
    /// What is said with each recipient that follows the option.
    pub for_all: ParameterList,
    /// What is said with `MAIL`, but for what the message itself asks for.
    pub mail: ParameterList,
    /// What we call ourselves.
    pub helo: Option<String>,
    /// LMTP.
    pub lmtp: bool,
    /// TLS from the first octet.
    pub tls: bool,
    /// When TLS is started later.
    pub starttls: StartTls,
    /// Whom to trust.
    pub trust: Trust,
    /// Whose certificate it must be.
    pub tls_name: Option<String>,
    /// Our certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Who logs in.
    pub credentials: Option<Credentials>,
    /// `XCLIENT`.
    pub xclient: Option<String>,
    /// `XFORWARD`.
    pub xforward: Option<String>,
    /// How long the server may take.
    pub timeout: Option<Duration>,
    /// `BDAT`.
    pub bdat: bool,
    /// Octets of a chunk.
    pub chunk: Option<usize>,
    /// How the message is announced.
    pub body: Option<Body>,
    /// Whether `SMTPUTF8` is announced, whatever is in it.
    pub smtputf8: Option<bool>,
    /// Whether its size is not said.
    pub no_size: bool,
    /// What becomes of line ends.
    pub line_endings: LineEndings,
    /// Whether the conversation is shown.
    pub verbose: bool,
    /// Where it ends.
    pub quit_after: Option<Stage>,
    /// What else is said.
    pub commands: Vec<String>,
    /// JSON.
    pub json: bool,
    login: Login,
}

/// What is said of the login, before all of it is known.
#[derive(Debug, Default)]
struct Login {
    user: Option<String>,
    password_file: Option<PathBuf>,
    mechanism: Option<String>,
    plaintext: bool,
    unverified: bool,
}

impl Arguments {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// When it makes no sense.
    pub fn parse(mut parser: Parser) -> Result<Task, Failure> {
        let mut arguments = Self { line_endings: LineEndings::Normalise, ..Self::default() };
        let mut words = Vec::new();
        while let Some(argument) = parser.next()? {
            let option = match argument {
                Arg::Value(word) => {
                    words.push(word);
                    continue;
                }
                Arg::Long("help") | Arg::Short('h') => return Ok(Task::Help),
                Arg::Long("version") | Arg::Short('V') => return Ok(Task::Version),
                Arg::Short('v') => "verbose".to_owned(),
                Arg::Long(name) => name.to_owned(),
                short @ Arg::Short(_) => return Err(short.unexpected().into()),
            };
            let known = arguments.switch(&option)
                || arguments.connection(&option, &mut parser)?
                || arguments.login(&option, &mut parser)?
                || arguments.message(&option, &mut parser)?
                || arguments.envelope(&option, &mut parser)?
                || arguments.inspection(&option, &mut parser)?;
            if !known {
                return Err(lexopt::Error::UnexpectedOption(format!("--{option}")).into());
            }
        }
        arguments.words(words)?;
        arguments.finish()?;
        Ok(Task::Send(Box::new(arguments)))
    }

    fn words(&mut self, words: Vec<std::ffi::OsString>) -> Result<(), Failure> {
        let mut words = words.into_iter();
        let host = words.next().ok_or(Failure::Incomplete("the server is missing"))?;
        let default = match (self.lmtp, self.tls) {
            (true, _) => 24,
            (false, true) => 465,
            (false, false) => 25,
        };
        self.address = Some(address(&host.string()?, default)?);
        self.file = words.next().filter(|word| word != "-").map(PathBuf::from);
        match words.next() {
            Some(word) => Err(lexopt::Error::UnexpectedArgument(word).into()),
            None => Ok(()),
        }
    }

    /// What needs no value.
    fn switch(&mut self, option: &str) -> bool {
        let mail = std::mem::take(&mut self.mail);
        self.mail = match option {
            "prdr" => mail.prdr(),
            "requiretls" => mail.require_tls(),
            _ => mail,
        };
        match option {
            "allow-plaintext" => self.login.plaintext = true,
            "allow-unverified" => self.login.unverified = true,
            "bdat" => self.bdat = true,
            "json" => self.json = true,
            "lmtp" => self.lmtp = true,
            "no-size" => self.no_size = true,
            "no-smtputf8" => self.smtputf8 = Some(false),
            "prdr" | "requiretls" => {}
            "smtputf8" => self.smtputf8 = Some(true),
            "tls" => self.tls = true,
            "verbose" => self.verbose = true,
            "verify" => self.trust = Trust::System,
            _ => return false,
        }
        true
    }

    fn connection(&mut self, option: &str, parser: &mut Parser) -> Result<bool, Failure> {
        match option {
            "ca" => self.trust = Trust::File(parser.value()?.into()),
            "cert" => self.certificate = Some(parser.value()?.into()),
            "helo" => self.helo = Some(checked(option, parser, |name| ClientName::new(name).map(drop))?),
            "key" => self.key = Some(parser.value()?.into()),
            "starttls" => {
                self.starttls = choice(
                    option,
                    parser,
                    &[("try", StartTls::Try), ("require", StartTls::Require), ("never", StartTls::Never)],
                    "try, require or never",
                )?;
            }
            "timeout" => {
                let seconds: f64 = parser.value()?.parse()?;
                let limit = Duration::try_from_secs_f64(seconds).ok().filter(|limit| !limit.is_zero());
                self.timeout = Some(limit.ok_or(wrong(option, "seconds above 0"))?);
            }
            "tls-name" => self.tls_name = Some(parser.value()?.string()?),
            "xclient" => self.xclient = Some(checked(option, parser, |words| Attributes::new(words).map(drop))?),
            "xforward" => self.xforward = Some(checked(option, parser, |words| Attributes::new(words).map(drop))?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn login(&mut self, option: &str, parser: &mut Parser) -> Result<bool, Failure> {
        match option {
            "mechanism" => self.login.mechanism = Some(parser.value()?.string()?.to_ascii_uppercase()),
            "password-file" => self.login.password_file = Some(parser.value()?.into()),
            "user" => self.login.user = Some(parser.value()?.string()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn message(&mut self, option: &str, parser: &mut Parser) -> Result<bool, Failure> {
        match option {
            "body" => {
                let kinds = [("7bit", Body::SevenBit), ("8bit", Body::EightBitMime), ("binary", Body::BinaryMime)];
                self.body = Some(choice(option, parser, &kinds, "7bit, 8bit or binary")?);
            }
            "chunk" => {
                let octets: usize = parser.value()?.parse()?;
                let octets = Some(octets).filter(|octets| (1..=MAX_CHUNK).contains(octets));
                self.chunk = Some(octets.ok_or(wrong(option, "1 to 2097152 octets"))?);
            }
            "line-endings" => {
                let how = [("normalise", LineEndings::Normalise), ("reject", LineEndings::Reject)];
                self.line_endings = choice(option, parser, &how, "normalise or reject")?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn envelope(&mut self, option: &str, parser: &mut Parser) -> Result<bool, Failure> {
        let of_mail = [
            ("by", "BY="),
            ("hold-for", "HOLDFOR="),
            ("hold-until", "HOLDUNTIL="),
            ("mail-parameter", ""),
            ("priority", "MT-PRIORITY="),
            ("ret", "RET="),
        ];
        let of_recipient = [("notify", "NOTIFY="), ("rcpt-parameter", ""), ("rrvs", "RRVS=")];
        let keyword = |table: &[(&str, &'static str)]| table.iter().find(|(name, _)| *name == option).map(|row| row.1);
        if let Some(keyword) = keyword(&of_mail) {
            let word = format!("{keyword}{}", parser.value()?.string()?);
            replace(option, &mut self.mail, |list| list.other(&word))?;
        } else if let Some(keyword) = keyword(&of_recipient) {
            let word = format!("{keyword}{}", parser.value()?.string()?);
            replace(option, self.present(), |list| list.other(&word))?;
        } else {
            let value = match option {
                "envid" | "from" | "orcpt" | "to" => parser.value()?.string()?,
                _ => return Ok(false),
            };
            self.address_option(option, &value)?;
        }
        Ok(true)
    }

    fn address_option(&mut self, option: &str, value: &str) -> Result<(), Failure> {
        let failed = |source| Failure::Value { option: option.to_owned(), source };
        match option {
            "envid" => replace(option, &mut self.mail, |list| list.envelope_id(value)),
            "from" => {
                let path = bracketed(value);
                ReversePath::new(&path).map_err(failed)?;
                self.from = Some(path);
                Ok(())
            }
            "orcpt" => {
                let (kind, address) = value.split_once(';').unwrap_or(("rfc822", value));
                let original = OriginalRecipient::new(kind, address).map_err(failed)?;
                replace(option, self.present(), |list| list.original_recipient(&original))
            }
            _ => {
                let path = bracketed(value);
                ForwardPath::new(&path).map_err(failed)?;
                self.recipients.push(Recipient { path, parameters: self.for_all.clone() });
                Ok(())
            }
        }
    }

    /// Whose parameters an option adds to: the last recipient's, or those of all that follow.
    fn present(&mut self) -> &mut ParameterList {
        self.recipients.last_mut().map_or(&mut self.for_all, |recipient| &mut recipient.parameters)
    }

    fn inspection(&mut self, option: &str, parser: &mut Parser) -> Result<bool, Failure> {
        match option {
            "command" => self.commands.push(command(option, parser)?),
            "quit-after" => {
                let stages =
                    [("connect", Stage::Connect), ("ehlo", Stage::Ehlo), ("mail", Stage::Mail), ("rcpt", Stage::Rcpt)];
                self.quit_after = Some(choice(option, parser, &stages, "connect, ehlo, mail or rcpt")?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What options need of each other.
    fn finish(&mut self) -> Result<(), Failure> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err(Failure::Incomplete("--cert and --key go together"));
        }
        if self.sends() || self.quit_after.is_some_and(|stage| stage >= Stage::Mail) {
            if self.from.is_none() {
                return Err(Failure::Incomplete("--from is missing; `<>` is an address too"));
            }
            if self.recipients.is_empty() && self.quit_after != Some(Stage::Mail) {
                return Err(Failure::Incomplete("--to is missing"));
            }
        }
        let login = std::mem::take(&mut self.login);
        if login.user.is_none() && login.mechanism.is_none() {
            return Ok(());
        }
        let password = login.password()?;
        if login.user.is_none() && login.mechanism.as_deref().is_none_or(|name| name != "EXTERNAL") {
            return Err(Failure::Incomplete("--mechanism needs --user, but for EXTERNAL"));
        }
        let Login { user, mechanism, plaintext, unverified, .. } = login;
        self.credentials = Some(Credentials { user, password, mechanism, plaintext, unverified });
        Ok(())
    }

    /// Whether there is a message to be sent: not where only a question is asked.
    #[must_use]
    pub fn sends(&self) -> bool {
        let asks = !self.commands.is_empty() && self.recipients.is_empty();
        self.quit_after.is_none() && !asks
    }
}

impl Login {
    fn password(&self) -> Result<Secret<'static>, Failure> {
        let text = match &self.password_file {
            Some(path) => {
                let text = std::fs::read(path);
                text.map_err(|source| Failure::File { operation: "read", path: path.clone(), source })?
            }
            None => match std::env::var_os("SMTP_PASSWORD") {
                Some(password) => password.into_encoded_bytes(),
                None if self.mechanism.as_deref() == Some("EXTERNAL") => Vec::new(),
                None => return Err(Failure::Incomplete("the password is missing: SMTP_PASSWORD or --password-file")),
            },
        };
        let first = text.split(|octet| matches!(octet, b'\n' | b'\r')).next().unwrap_or_default();
        Ok(Secret::from(first.to_vec()))
    }
}

fn wrong(option: &str, expected: &'static str) -> Failure {
    Failure::Value { option: option.to_owned(), source: ValueError { expected } }
}

fn choice<T: Copy>(
    option: &str,
    parser: &mut Parser,
    among: &[(&str, T)],
    expected: &'static str,
) -> Result<T, Failure> {
    let word = parser.value()?.string()?;
    let found = among.iter().find(|(name, _)| *name == word);
    found.map(|(_, value)| *value).ok_or(wrong(option, expected))
}

fn checked(
    option: &str,
    parser: &mut Parser,
    check: impl FnOnce(&str) -> Result<(), ValueError>,
) -> Result<String, Failure> {
    let value = parser.value()?.string()?;
    check(&value).map_err(|source| Failure::Value { option: option.to_owned(), source })?;
    Ok(value)
}

fn replace(
    option: &str,
    list: &mut ParameterList,
    with: impl FnOnce(ParameterList) -> Result<ParameterList, ValueError>,
) -> Result<(), Failure> {
    let replaced = with(std::mem::take(list));
    *list = replaced.map_err(|source| Failure::Value { option: option.to_owned(), source })?;
    Ok(())
}

fn bracketed(address: &str) -> String {
    if address.starts_with('<') && address.ends_with('>') { address.to_owned() } else { format!("<{address}>") }
}

/// A command whose reply changes nothing that the session goes by.
fn command(option: &str, parser: &mut Parser) -> Result<String, Failure> {
    let line = parser.value()?.string()?;
    let expected = "a command of SMTP that neither begins nor ends anything, as VRFY, EXPN, HELP, NOOP and ETRN";
    match Command::parse(line.as_bytes()).as_ref().map(Command::verb) {
        Ok(Verb::Etrn | Verb::Expn | Verb::Help | Verb::Noop | Verb::Other | Verb::Rset | Verb::Vrfy) => Ok(line),
        _ => Err(wrong(option, expected)),
    }
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`, an address of IPv6 alone, or a path.
fn address(text: &str, default: u16) -> Result<Address, Failure> {
    if text.starts_with('/') {
        return Ok(Address::Unix(PathBuf::from(text)));
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        // What follows the bracket without a colon is no port.
        Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or("?"))),
        None => match text.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (text, None),
        },
    };
    let port = port.map_or(Ok(default), str::parse);
    match port {
        Ok(port) if !host.is_empty() => Ok(Address::Tcp(host.to_owned(), port)),
        _ => Err(Failure::Incomplete("expected HOST, HOST:PORT or [ADDRESS]:PORT")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments, Failure> {
        let envelope = ["smtp-send", "--from", "a@b", "--to", "c@d"];
        match Arguments::parse(Parser::from_iter(envelope.iter().chain(words)))? {
            Task::Send(arguments) => Ok(*arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_server_is_a_host_with_or_without_a_port_or_a_path() {
        let tcp = |host: &str, port| Some(Address::Tcp(host.to_owned(), port));
        for (word, address) in [
            ("mx.example", tcp("mx.example", 25)),
            ("mx.example:2525", tcp("mx.example", 2525)),
            ("[2001:db8::1]:26", tcp("2001:db8::1", 26)),
            ("[2001:db8::1]", tcp("2001:db8::1", 25)),
            ("::1", tcp("::1", 25)),
            ("/run/lmtp", Some(Address::Unix("/run/lmtp".into()))),
        ] {
            assert_eq!(parse(&[word]).unwrap().address, address);
        }
        for wrong in ["mx:x", "mx:70000", ":25", "", "[::1]x"] {
            assert_eq!(parse(&[wrong]).map_or_else(|failure| failure.status(), |found| panic!("{found:?}")), 64);
        }
        assert_eq!(parse(&["--tls", "h"]).unwrap().address, tcp("h", 465));
        assert_eq!(parse(&["--lmtp", "h"]).unwrap().address, tcp("h", 24));
    }

    #[test]
    fn parameters_of_recipients_are_the_last_ones_or_before_the_first_those_of_all() {
        let words = "smtp-send --notify never --from <> --to a@b --orcpt b@c --to <c@d> --notify success h";
        let Task::Send(arguments) = Arguments::parse(Parser::from_iter(words.split(' '))).unwrap() else { panic!() };
        let said: Vec<_> = arguments.recipients.iter().map(|to| to.parameters.as_parameters().as_bytes()).collect();
        assert_eq!(said, [&b"NOTIFY=never ORCPT=rfc822;b@c"[..], b"NOTIFY=success"]);
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_the_option_that_says_it() {
        for (words, says) in [
            (&["--ret", "some", "h"][..], "--ret: expected FULL or HDRS"),
            (&["--to", "a b@c", "h"], "--to: expected <postmaster> or <mailbox>"),
            (&["--from", "a@b>\r\nRSET", "h"], "--from: expected <> or <mailbox>"),
            (&["--chunk", "0", "h"], "--chunk: expected 1 to"),
            (&["--command", "DATA", "h"], "--command: expected a command"),
            (&["--command", "VRFY a\r\nDATA", "h"], "--command: expected a command"),
            (&["--timeout", "-1", "h"], "--timeout: expected seconds"),
            (&["--hold-for", "5", "--hold-until", "2030-01-01T00:00:00Z", "h"], "--hold-until: expected"),
            (&["--bogus", "h"], "--bogus"),
            (&[], "the server is missing"),
        ] {
            let failure = parse(words).expect_err(says);
            assert!(failure.to_string().contains(says), "{failure}");
            assert_eq!(failure.status(), 64);
        }
    }
}
