//! One connection: request after request, each answered as the fault says.

use std::io;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::answer::{Answer, Api, Body, compose};
use crate::control::Control;
use crate::fault::Fault;
use crate::http::{Connection, Request, head};
use crate::outside;

/// What became of an answer.
enum Sent {
    Whole,
    Cut,
}

/// Serves a connection until either side ends it.
pub(crate) fn connection(stream: TcpStream, control: &Control) {
    let Ok(mut connection) = Connection::new(stream) else {
        return;
    };
    while let Ok(Some(request)) = connection.request() {
        let closes = request.closes();
        match exchange(&mut connection, request, control) {
            Ok(Sent::Whole) if !closes => {}
            Ok(Sent::Whole | Sent::Cut) | Err(_) => break,
        }
    }
    connection.cut();
}

fn exchange(connection: &mut Connection, request: Request, control: &Control) -> io::Result<Sent> {
    let route = request.route().to_owned();
    if route.starts_with("/mock/") {
        let (status, body) = control.command(&request);
        return whole(connection, status, &[], body.to_string().as_bytes());
    }
    let Some(api) = Api::of(&route) else {
        return other(connection, (request, &route), control);
    };
    let fault = control.arrive(request.clone());
    let answer = compose(api, &request, &fault);
    let sent = hold_and(connection, control, &fault, |connection| {
        send(connection, &answer, &fault, control)
    });
    control.leave(&route, answer.status, sent.is_ok());
    sent
}

/// What is no API of a provider.
fn other(
    connection: &mut Connection,
    (request, route): (Request, &str),
    control: &Control,
) -> io::Result<Sent> {
    let none = || (404, json!({"error": {"message": "mock: no such path"}}));
    let (status, body) = outside::answer(&request).unwrap_or_else(none);
    let fault = control.arrive(request);
    let told = fault
        .number("status")
        .and_then(|status| u16::try_from(status).ok());
    let status = told.unwrap_or(status);
    let sent = hold_and(connection, control, &fault, |connection| {
        whole(connection, status, &json_type(), body.to_string().as_bytes())
    });
    control.leave(route, status, sent.is_ok());
    sent
}

fn json_type() -> [(String, String); 1] {
    [("content-type".to_owned(), "application/json".to_owned())]
}

fn hold_and(
    connection: &mut Connection,
    control: &Control,
    fault: &Fault,
    then: impl FnOnce(&mut Connection) -> io::Result<Sent>,
) -> io::Result<Sent> {
    if fault.text("hold-after").is_none() {
        hold(control, fault);
    }
    pause(fault.number("delay-headers-ms"));
    then(connection)
}

fn hold(control: &Control, fault: &Fault) {
    if let Some(group) = fault.text("hold") {
        control.hold(group);
    }
}

fn pause(milliseconds: Option<u64>) {
    if let Some(milliseconds) = milliseconds {
        sleep(Duration::from_millis(milliseconds));
    }
}

fn send(connection: &mut Connection, answer: &Answer, fault: &Fault, control: &Control) -> io::Result<Sent> {
    match &answer.body {
        Body::Whole(body) => {
            pause(fault.number("delay-first-ms"));
            match fault.number("reset-after") {
                Some(0) => Ok(Sent::Cut),
                Some(_) => half(connection, answer, body),
                None if fault.text("trailer").is_some() => chunked(connection, answer, body, fault),
                None => whole(connection, answer.status, &answer.headers, body),
            }
        }
        Body::Events(events) => {
            connection.write(&head(answer.status, &in_chunks(&answer.headers)))?;
            stream(connection, events, fault, control)
        }
    }
}

fn whole(
    connection: &mut Connection,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
) -> io::Result<Sent> {
    let mut bytes = head(status, &with_length(headers, body.len()));
    bytes.extend_from_slice(body);
    connection.write(&bytes).map(|()| Sent::Whole)
}

/// All of the head and half of the body; the caller then ends the connection.
fn half(connection: &mut Connection, answer: &Answer, body: &[u8]) -> io::Result<Sent> {
    let mut bytes = head(answer.status, &with_length(&answer.headers, body.len()));
    bytes.extend_from_slice(body.get(..body.len() / 2).unwrap_or_default());
    connection.write(&bytes).map(|()| Sent::Cut)
}

fn with_length(headers: &[(String, String)], length: usize) -> Vec<(String, String)> {
    let mut headers = headers.to_vec();
    headers.push(("content-length".to_owned(), length.to_string()));
    headers
}

/// One chunk an event: after the head `delay-first-ms`, between events `gap-ms`, after `hold-after` events the gate.
fn stream(
    connection: &mut Connection,
    events: &[String],
    fault: &Fault,
    control: &Control,
) -> io::Result<Sent> {
    let at = |name: &str| fault.number(name).and_then(|count| usize::try_from(count).ok());
    let (cut_at, hold_at) = (at("reset-after"), at("hold-after"));
    for (number, event) in events.iter().enumerate() {
        if cut_at == Some(number) {
            return Ok(Sent::Cut);
        }
        if hold_at == Some(number) {
            hold(control, fault);
        }
        pause(if number == 0 {
            fault.number("delay-first-ms")
        } else {
            fault.number("gap-ms")
        });
        connection.chunk(event.as_bytes())?;
    }
    connection.trailers(fault.texts("trailer")).map(|()| Sent::Whole)
}

/// A whole body as one chunk, with trailers after it.
fn chunked(connection: &mut Connection, answer: &Answer, body: &[u8], fault: &Fault) -> io::Result<Sent> {
    connection.write(&head(answer.status, &in_chunks(&answer.headers)))?;
    connection.chunk(body)?;
    connection.trailers(fault.texts("trailer")).map(|()| Sent::Whole)
}

fn in_chunks(headers: &[(String, String)]) -> Vec<(String, String)> {
    let mut headers = headers.to_vec();
    headers.push(("transfer-encoding".to_owned(), "chunked".to_owned()));
    headers
}
