//! What an error below HTTP means.

use std::{error::Error as StdError, io};

use http::{Uri, uri::Scheme};
use minicol_plugin::{net::ConnectError, text::foreign};
use rustls::{AlertDescription as Alert, InvalidMessage};

use crate::{Cause, connect::ProxyFault};

/// What an error of a request to `uri` means. A server that refuses our certificate may be gone before its reason is read: a lost connection
/// is then all that is seen.
pub(crate) fn cause_of_request(error: &(dyn StdError + 'static), uri: &Uri) -> Cause {
    match cause_of(error) {
        Cause::Lost(why) if why.starts_with(LOST) && uri.scheme() == Some(&Scheme::HTTPS) => Cause::Lost(format!(
            "{why}; over tls that may also mean that the server wants another client certificate, or one at all"
        )),
        cause => cause,
    }
}

const LOST: &str = "the connection was lost";

/// What an error of the HTTP client, or of a body, means.
pub(crate) fn cause_of(error: &(dyn StdError + 'static)) -> Cause {
    if let Some(tls) = chain(error).find_map(of_tls) {
        return tls;
    }
    for error in chain(error) {
        match error.downcast_ref::<ConnectError>() {
            Some(ConnectError::Tls { host, port, source }) => {
                return match no_tls(source) {
                    Some(why) => Cause::PlainText(format!("tls handshake with {}:{port} failed: {why}", foreign(host))),
                    None => Cause::Tls(foreign(&error.to_string())),
                };
            }
            // Its message holds the whole address, whose query may hold a token.
            Some(ConnectError::Address(_)) => {
                return Cause::Unreachable("no connection can be made to this kind of address".to_owned());
            }
            Some(ConnectError::Unreachable { source, .. }) => {
                let fault = source.get_ref().and_then(|inner| inner.downcast_ref::<ProxyFault>());
                let what = foreign(&error.to_string());
                return match fault {
                    None => Cause::Unreachable(what),
                    Some(ProxyFault { unauthorized: false, .. }) => Cause::Proxy(what),
                    Some(ProxyFault { unauthorized: true, .. }) => Cause::ProxyAuth(what),
                };
            }
            None => {}
        }
        if let Some(h2) = error.downcast_ref::<h2::Error>().filter(|h2| h2.is_library()) {
            // What our side refused to read: a list of headers above the bound, or far above it.
            match h2.reason() {
                Some(h2::Reason::PROTOCOL_ERROR) if h2.is_reset() => {
                    return Cause::Malformed("the reply's headers are too many or too long, or are none".to_owned());
                }
                Some(h2::Reason::ENHANCE_YOUR_CALM | h2::Reason::PROTOCOL_ERROR) if h2.is_go_away() => {
                    return Cause::Malformed(format!(
                        "what came is not HTTP/2, or is a flood ({})",
                        foreign(&h2.to_string())
                    ));
                }
                _ => {}
            }
        }
        if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
            if hyper.is_parse_too_large() {
                return Cause::Malformed("the reply's headers are too many or too long".to_owned());
            }
            if hyper.is_parse() {
                return Cause::Malformed(format!("what came is not HTTP ({})", foreign(&hyper.to_string())));
            }
            if hyper.is_incomplete_message() {
                return Cause::Lost("the connection ended before the reply did".to_owned());
            }
        }
    }
    // The innermost error says it best: "connection reset by peer".
    let innermost = chain(error).last().map(ToString::to_string).unwrap_or_default();
    Cause::Lost(format!("{LOST} ({})", foreign(&innermost)))
}

/// What a server says of a client's certificate that it does not take, or does not get.
const REFUSALS: [Alert; 9] = [
    Alert::CertificateRequired,
    Alert::BadCertificate,
    Alert::UnsupportedCertificate,
    Alert::CertificateRevoked,
    Alert::CertificateExpired,
    Alert::CertificateUnknown,
    Alert::UnknownCA,
    Alert::DecryptError, // its signature does not hold: another authority of the same name
    Alert::AccessDenied,
];

/// What TLS itself says. With TLS 1.3 a server refuses a client's certificate only after the handshake, as far as the client can tell. An I/O error
/// hides what it is made of from the chain, and of an I/O error HTTP/2 keeps nothing but the words.
fn of_tls(error: &(dyn StdError + 'static)) -> Option<Cause> {
    let refused = |alert: &Alert| Some(Cause::ClientCertificate(format!("{alert:?}")));
    let io = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    if let Some(rustls::Error::AlertReceived(alert)) = io.and_then(|inner| inner.downcast_ref()) {
        return REFUSALS.iter().find(|one| *one == alert).and_then(refused);
    }
    if error.source().is_some() {
        return None;
    }
    let words = error.to_string();
    REFUSALS.iter().find(|one| words.ends_with(&rustls::Error::AlertReceived(**one).to_string())).and_then(refused)
}

/// Where what failed a handshake says that the server speaks plain text, or may do so.
fn no_tls(error: &io::Error) -> Option<&'static str> {
    let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) = rustls {
        return Some("the server does not speak TLS: for plain text write http://");
    }
    let closed = error.kind() == io::ErrorKind::UnexpectedEof;
    closed.then_some("the server closed the connection: if it takes plain text write http://")
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_certificate_is_known_by_what_http_2_leaves_of_it() {
        let alert = || rustls::Error::AlertReceived(Alert::CertificateRequired);
        let io = |inner: Box<dyn StdError + Send + Sync>| std::io::Error::new(std::io::ErrorKind::InvalidData, inner);
        for error in [io(Box::new(alert())), io(alert().to_string().into())] {
            assert!(matches!(cause_of(&error), Cause::ClientCertificate(_)), "{error:?}");
        }
        let other = io(rustls::Error::AlertReceived(Alert::InternalError).to_string().into());
        assert!(matches!(cause_of(&other), Cause::Lost(_)));
    }

    #[test]
    fn a_server_that_speaks_plain_text_is_not_told_as_one_with_a_wrong_certificate() {
        let failed = |source| ConnectError::Tls { host: "buddy".to_owned(), port: 8678, source };
        let plain = io::Error::new(
            io::ErrorKind::InvalidData,
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType),
        );
        for (source, cure) in [
            (plain, "the server does not speak TLS: for plain text write http://"),
            (
                io::ErrorKind::UnexpectedEof.into(),
                "the server closed the connection: if it takes plain text write http://",
            ),
        ] {
            let cause = cause_of(&failed(source));
            assert_eq!(cause.to_string(), format!("tls handshake with buddy:8678 failed: {cure}"));
            assert_eq!((cause.class(), &*cause.error_type()), (crate::Class::Tls, "tls"));
        }
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let told = cause_of(&failed(io::Error::new(io::ErrorKind::InvalidData, unknown))).to_string();
        assert!(told.contains("is the certificate signed"), "{told}");
    }

    #[test]
    fn a_connection_lost_over_tls_may_be_a_refused_certificate() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        for (uri, hinted) in [("https://buddy/mcp", true), ("http://buddy/mcp", false)] {
            let told = cause_of_request(&broken, &Uri::from_static(uri)).to_string();
            assert_eq!(told.contains("client certificate"), hinted, "{told}");
        }
    }
}
