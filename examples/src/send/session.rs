//! A session, from the greeting to `QUIT`.

use std::io::{self, Write};
use std::time::Duration;

use postrider_smtp_proto::client::{Config, Connection};
use postrider_smtp_proto::transfer::{self, Carrier, Envelope, Transfer};
use postrider_smtp_proto::{
    Attributes, Body, ClientName, Code, Command, Escaped, ForwardPath, Offered, ParameterList, Parameters, Reply,
    ReversePath, ValueError,
};

use super::arguments::{Arguments, Stage, StartTls};
use super::channel::Channel;
use super::failure::Failure;
use super::login::log_in;
use super::message::{Facts, Message};
use super::report::Report;
use super::stream::{Address, Security, Stream, Trust};
use super::transcript::Transcript;

/// How long an address may take to answer at all. Minutes would be spent on each that is not there.
const CONNECT: Duration = Duration::from_secs(30);

/// Octets of the message that are written at a time.
const PIECE: usize = 64 * 1024;

/// A session under way.
struct Session<'a> {
    arguments: &'a Arguments,
    channel: Channel,
    security: Option<Security>,
    name: String,
    /// The reply to the last `EHLO`; to `HELO` none.
    hello: Option<Reply<'static>>,
}

/// Does what the arguments say.
///
/// # Errors
///
/// When it ended before all of it was done. What is known by then of the recipients is in the report.
pub fn run(arguments: &Arguments, report: &mut Report) -> Result<(), Failure> {
    let message = if arguments.sends() { Some(open(arguments)?) } else { None };
    let mut session = Session::begin(arguments)?;
    let ended = session.all(message.as_ref(), report);
    session.channel.quit();
    ended
}

fn open(arguments: &Arguments) -> Result<Message, Failure> {
    let message = Message::open(arguments.file.as_deref())?;
    let rejects = arguments.line_endings == postrider_smtp_proto::LineEndings::Reject;
    match message.facts.stray {
        Some((at, stray)) if rejects && body(arguments, &message.facts) != Some(Body::BinaryMime) => {
            Err(Failure::LineEnding { stray, at })
        }
        _ => Ok(message),
    }
}

/// How the message is announced: as the user says, or by what is in it.
fn body(arguments: &Arguments, facts: &Facts) -> Option<Body> {
    let by_content = match (facts.nul, facts.eight_bit) {
        (true, _) => Some(Body::BinaryMime),
        (false, true) => Some(Body::EightBitMime),
        (false, false) => None,
    };
    arguments.body.or(by_content)
}

impl<'a> Session<'a> {
    fn begin(arguments: &'a Arguments) -> Result<Self, Failure> {
        let address = arguments.address.as_ref().ok_or(Failure::Incomplete("the server is missing"))?;
        let security = Self::security(arguments, address)?;
        let limit = arguments.timeout.unwrap_or(CONNECT);
        let stream = Stream::connect(address, limit)?;
        let name = arguments.helo.clone().unwrap_or_else(|| own_name(&stream));
        let (line_endings, tls, lmtp) = (arguments.line_endings, arguments.tls, arguments.lmtp);
        let connection = Connection::new(Config { line_endings, tls, lmtp, ..Config::default() });
        let transcript = Transcript { verbose: arguments.verbose };
        let channel = Channel::new(stream, connection, transcript, arguments.timeout);
        Ok(Self { arguments, channel, security, name, hello: None })
    }

    fn security(arguments: &Arguments, address: &Address) -> Result<Option<Security>, Failure> {
        if !arguments.tls && arguments.starttls == StartTls::Never {
            return Ok(None);
        }
        let host = match address {
            Address::Tcp(host, _) => host,
            Address::Unix(_) => "localhost",
        };
        let name = arguments.tls_name.as_deref().unwrap_or(host);
        let identity = arguments.certificate.as_deref().zip(arguments.key.as_deref());
        Security::new(name, &arguments.trust, identity).map(Some)
    }

    fn all(&mut self, message: Option<&Message>, report: &mut Report) -> Result<(), Failure> {
        if self.arguments.tls {
            self.secure()?;
        }
        let greeting = self.channel.hear()?;
        accepted("the session is", greeting)?;
        if self.arguments.quit_after == Some(Stage::Connect) {
            return Ok(());
        }
        self.introduce()?;
        for line in &self.arguments.commands {
            let command = Command::parse(line.as_bytes());
            let command = command.map_err(|_| Failure::Incomplete("--command wants a command of SMTP"))?;
            report.answered(line, self.channel.ask(&command)?);
        }
        match (self.arguments.quit_after, message) {
            (Some(Stage::Mail | Stage::Rcpt), _) => self.probe(report),
            (None, Some(message)) => self.send(message, report),
            _ => Ok(()),
        }
    }

    /// All that comes before a transaction.
    fn introduce(&mut self) -> Result<(), Failure> {
        self.hello()?;
        self.start_tls()?;
        if let Some(attributes) = &self.arguments.xclient {
            let attributes = Attributes::new(attributes).map_err(|source| value("xclient", source))?;
            accepted("XCLIENT is", self.channel.ask(&Command::Xclient(attributes))?)?;
            self.hello()?;
        }
        if let Some(credentials) = &self.arguments.credentials {
            let hello = self.hello.as_ref().ok_or(Failure::NotOffered("AUTH"))?;
            log_in(&mut self.channel, hello, credentials)?;
        }
        if let Some(attributes) = &self.arguments.xforward {
            let attributes = Attributes::new(attributes).map_err(|source| value("xforward", source))?;
            accepted("XFORWARD is", self.channel.ask(&Command::Xforward(attributes))?)?;
        }
        Ok(())
    }

    /// `EHLO`, and `HELO` where a server does not know that: a refusal for another reason stands.
    fn hello(&mut self) -> Result<(), Failure> {
        let name = ClientName::new(&self.name).map_err(|source| value("helo", source))?;
        let command = if self.arguments.lmtp { Command::Lhlo(name) } else { Command::Ehlo(name) };
        let reply = self.channel.ask(&command)?;
        self.hello = None;
        let unknown =
            [Code::SYNTAX_ERROR, Code::ARGUMENT_ERROR, Code::NOT_IMPLEMENTED, Code::PARAMETER_NOT_IMPLEMENTED];
        if !self.arguments.lmtp && unknown.contains(&reply.code()) {
            return accepted("HELO is", self.channel.ask(&Command::Helo(name))?);
        }
        accepted("EHLO is", reply.clone())?;
        self.hello = Some(reply);
        Ok(())
    }

    fn start_tls(&mut self) -> Result<(), Failure> {
        let required = self.arguments.starttls == StartTls::Require;
        if self.arguments.tls || self.arguments.starttls == StartTls::Never {
            return Ok(());
        }
        if !self.channel.connection().offered().starttls {
            return if required { Err(Failure::NotOffered("STARTTLS")) } else { Ok(()) };
        }
        let reply = self.channel.ask(&Command::StartTls)?;
        if reply.code().is_negative() && !required && !self.channel.connection().is_closed() {
            return Ok(());
        }
        accepted("STARTTLS is", reply)?;
        self.secure()?;
        self.hello()
    }

    fn secure(&mut self) -> Result<(), Failure> {
        let security = self.security.as_ref().ok_or(Failure::Incomplete("TLS is not wanted"))?;
        let verified = self.arguments.trust != Trust::Anybody;
        self.channel.secure(security, verified)?;
        if !verified {
            let _ =
                writeln!(io::stderr(), "smtp-send: the server's certificate is not verified: see --verify and --ca");
        }
        Ok(())
    }

    fn reverse_path(&self) -> Result<ReversePath<'a>, Failure> {
        let path = self.arguments.from.as_deref().unwrap_or("<>");
        ReversePath::new(path).map_err(|source| value("from", source))
    }

    /// The transaction without its message, in single steps.
    fn probe(&mut self, report: &mut Report) -> Result<(), Failure> {
        let list = self.parameters(None);
        let mail = Command::Mail { from: self.reverse_path()?, parameters: list.as_parameters() };
        accepted("MAIL is", self.channel.ask(&mail)?)?;
        if self.arguments.quit_after == Some(Stage::Mail) {
            return Ok(());
        }
        for (index, recipient) in self.arguments.recipients.iter().enumerate() {
            let to = ForwardPath::new(&recipient.path).map_err(|source| value("to", source))?;
            let parameters = recipient.parameters.as_parameters();
            report.probed(index, self.channel.ask(&Command::Rcpt { to, parameters })?);
        }
        Ok(())
    }

    fn send(&mut self, message: &Message, report: &mut Report) -> Result<(), Failure> {
        let list = self.parameters(Some(&message.facts));
        let recipients: Result<Vec<_>, ValueError> = self
            .arguments
            .recipients
            .iter()
            .map(|recipient| {
                let parameters = recipient.parameters.as_parameters();
                Ok(transfer::Recipient { to: ForwardPath::new(&recipient.path)?, parameters })
            })
            .collect();
        let recipients = recipients.map_err(|source| value("to", source))?;
        let parameters: Parameters<'_> = list.as_parameters();
        let envelope = Envelope { from: self.reverse_path()?, parameters, recipients: &recipients };
        let carrier = if self.arguments.bdat { Carrier::Chunks } else { Carrier::Automatic };
        let offered = self.channel.connection().offered();
        let transfer = Transfer::new(envelope, offered)?.carried_by(carrier);
        tell_left_out(&envelope, offered);
        let chunk = self.arguments.chunk.unwrap_or(PIECE);
        let (outcomes, failure) = self.channel.transfer(transfer, message, chunk);
        report.outcomes(outcomes);
        failure.map_or(Ok(()), Err)
    }

    /// What is said with `MAIL`: what the user wants, and what the message and the addresses ask for.
    fn parameters(&self, facts: Option<&Facts>) -> ParameterList {
        let mut list = self.arguments.mail.clone();
        let given = |list: &ParameterList, keyword| list.as_parameters().find(keyword).is_some();
        let facts = facts.copied().unwrap_or_default();
        let body = body(self.arguments, &facts);
        if let Some(body) = body.filter(|_| !given(&list, "BODY")) {
            list = list.body(body);
        }
        let offered = self.channel.connection().offered();
        if facts.size > 0 && !self.arguments.no_size && offered.size && !given(&list, "SIZE") {
            list = list.size(if body == Some(Body::BinaryMime) { facts.len } else { facts.size });
        }
        let paths = self.arguments.recipients.iter().map(|recipient| &recipient.path).chain(&self.arguments.from);
        let utf8 = facts.utf8_header || paths.into_iter().any(|path| !path.is_ascii());
        if self.arguments.smtputf8.unwrap_or(utf8) { list.smtputf8() } else { list }
    }
}

/// Says which of the parameters do not go with the message, since the server would not know them.
fn tell_left_out(envelope: &Envelope<'_>, offered: &Offered) {
    let of_recipients = envelope.recipients.iter().flat_map(|recipient| recipient.parameters.iter());
    let all = envelope.parameters.iter().chain(of_recipients);
    let mut left_out: Vec<_> = all.map(|parameter| Escaped(parameter.keyword).to_string()).collect();
    left_out.retain(|keyword| match keyword.as_str() {
        "BY" => offered.deliver_by.is_none(),
        "ENVID" | "NOTIFY" | "ORCPT" | "RET" => !offered.dsn,
        "MT-PRIORITY" => !offered.mt_priority,
        "PRDR" => !offered.prdr,
        "RRVS" => !offered.rrvs,
        _ => false,
    });
    left_out.sort_unstable();
    left_out.dedup();
    if !left_out.is_empty() {
        let _ =
            writeln!(io::stderr(), "smtp-send: left out, since the server does not offer it: {}", left_out.join(", "));
    }
}

fn value(option: &str, source: ValueError) -> Failure {
    Failure::Value { option: option.to_owned(), source }
}

fn accepted(what: &'static str, reply: Reply<'static>) -> Result<(), Failure> {
    if reply.code().is_success() { Ok(()) } else { Err(Failure::Refused { what, reply }) }
}

/// The host's name where it is one of the network; else our address, as RFC 5321 section 4.1.4 has it.
fn own_name(stream: &Stream) -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_str().ok().filter(|name| name.contains('.') && ClientName::new(*name).is_ok());
    name.map(str::to_owned).or_else(|| stream.own_literal()).unwrap_or_else(|| "localhost".to_owned())
}
