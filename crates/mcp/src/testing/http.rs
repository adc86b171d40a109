use std::io;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Collected, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use minicol_plugin::{
    CancellationToken,
    net::{BoxIo, Listener},
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, sync::mpsc, time::sleep};

use super::{
    FaultServer, Seen,
    reply::{Before, Piece, Reply},
};

type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(super) async fn accept(server: FaultServer, mut listener: Box<dyn Listener>, running: CancellationToken) {
    loop {
        let stream = tokio::select! {
            () = running.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => return,
            },
        };
        let (server, running) = (server.clone(), running.clone());
        tokio::spawn(async move {
            tokio::select! { () = running.cancelled() => {}, () = serve(server, stream) => {} }
        });
    }
}

/// Serves one connection. What a reply says as raw bytes goes out once hyper has let go of the stream, which it does on a service's error.
async fn serve(server: FaultServer, stream: BoxIo) {
    let (raw, mut raws) = mpsc::channel::<Bytes>(1);
    let service = service_fn(move |request| Box::pin(respond(server.clone(), raw.clone(), request)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let mut stream = connection.into_parts().io.into_inner();
    if let Ok(bytes) = raws.try_recv() {
        let _ = stream.write_all(&bytes).await;
    }
    let _ = stream.shutdown().await;
}

async fn respond(
    server: FaultServer,
    raw: mpsc::Sender<Bytes>,
    request: Request<Incoming>,
) -> Result<Response<Body>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let seen = Seen {
        http_method: head.method,
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        text: String::from_utf8_lossy(&body).into_owned(),
    };
    let style = server.state().style;
    let reply = server.answer(&seen).complete(&seen, style);
    match reply.before.clone() {
        None => {}
        Some(Before::Wait(wait)) => sleep(wait).await,
        Some(Before::Hang) => std::future::pending().await,
        Some(Before::Cut) => return Err(io::ErrorKind::ConnectionReset.into()),
        Some(Before::Raw(bytes)) => {
            let _ = raw.try_send(bytes);
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(response(reply))
}

fn response(reply: Reply) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
    for (name, value) in &reply.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            response.headers_mut().append(name, value);
        }
    }
    if !reply.pieces.is_empty() {
        let pieces = stream::iter(reply.pieces).then(play).filter_map(|frame| async move { frame.transpose() });
        *response.body_mut() = BodyExt::boxed_unsync(StreamBody::new(pieces));
    }
    response
}

async fn play(piece: Piece) -> Result<Option<Frame<Bytes>>, io::Error> {
    match piece {
        Piece::Bytes(bytes) => Ok(Some(Frame::data(bytes))),
        Piece::Wait(wait) => {
            sleep(wait).await;
            Ok(None)
        }
        Piece::Until(told) => {
            told.notified().await;
            Ok(None)
        }
        Piece::Hang => std::future::pending().await,
        Piece::Cut => {
            // What was written before must have left, or hyper drops it with the connection.
            tokio::task::yield_now().await;
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
}
