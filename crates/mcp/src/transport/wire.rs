//! What an error below HTTP means.

use std::error::Error as StdError;

use minicol_plugin::{net::ConnectError, text::foreign};

use crate::Cause;

/// What an error of the HTTP client, or of a body, means.
pub(crate) fn cause_of(error: &(dyn StdError + 'static)) -> Cause {
    if let Some(tls) = chain(error).find_map(of_tls) {
        return tls;
    }
    for error in chain(error) {
        match error.downcast_ref::<ConnectError>() {
            Some(ConnectError::Tls { .. }) => return Cause::Tls(foreign(&error.to_string())),
            // Its message holds the whole address, whose query may hold a token.
            Some(ConnectError::Address(_)) => {
                return Cause::Unreachable("no connection can be made to this kind of address".to_owned());
            }
            Some(ConnectError::Unreachable { .. }) => return Cause::Unreachable(foreign(&error.to_string())),
            None => {}
        }
        if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
            if hyper.is_parse_too_large() {
                return Cause::Malformed("the reply's headers are too many or too long".to_owned());
            }
            if hyper.is_parse() {
                return Cause::Malformed(format!("what came is not HTTP ({})", foreign(&hyper.to_string())));
            }
            if hyper.is_incomplete_message() {
                return Cause::Unreachable("the connection ended before the reply did".to_owned());
            }
        }
    }
    // The innermost error says it best: "connection reset by peer".
    let innermost = chain(error).last().map(ToString::to_string).unwrap_or_default();
    Cause::Unreachable(format!("the connection was lost ({})", foreign(&innermost)))
}

/// What TLS itself says. With TLS 1.3 a server refuses a client's certificate only after the handshake, as far as the client can tell. An I/O error
/// hides what it is made of from the chain.
fn of_tls(error: &(dyn StdError + 'static)) -> Option<Cause> {
    use rustls::AlertDescription as Alert;
    let inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    match inner.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(
            alert @ (Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::DecryptError // its signature does not hold: another authority of the same name
            | Alert::AccessDenied),
        ) => Some(Cause::ClientCertificate(format!("{alert:?}"))),
        _ => None,
    }
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
