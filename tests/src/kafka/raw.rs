//! Two questions that the client library does not ask: who leads the controllers, who coordinates a transaction.
//! In: the address of a broker. Out: a node id, or nothing if the broker does not know or answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const FIND_COORDINATOR: i16 = 10;
const DESCRIBE_QUORUM: i16 = 55;

/// What a coordinator coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// A consumer group.
    Group = 0,
    /// A transactional id.
    Transaction = 1,
}

/// The node that coordinates `key`.
pub fn coordinator(address: &str, key: &str, of: Of) -> Option<i32> {
    let mut body = text(key);
    body.push(of as u8);
    let answer = ask(address, FIND_COORDINATOR, 2, false, &body)?;
    // Throttle time, error code, error message, node.
    let mut at = Reader(&answer);
    at.take(4)?;
    let error = i16::from_be_bytes(at.take(2)?.try_into().ok()?);
    let message = i16::from_be_bytes(at.take(2)?.try_into().ok()?);
    at.take(usize::try_from(message).unwrap_or(0))?;
    let node = i32::from_be_bytes(at.take(4)?.try_into().ok()?);
    (error == 0 && node >= 0).then_some(node)
}

/// The node that leads the quorum of controllers.
pub fn controller(address: &str) -> Option<i32> {
    let topic = "__cluster_metadata";
    let mut body = vec![2, topic.len() as u8 + 1];
    body.extend(topic.as_bytes());
    // One partition, number 0, and no tagged fields of it, of the topic, of the request.
    body.extend([2, 0, 0, 0, 0, 0, 0, 0]);
    let answer = ask(address, DESCRIBE_QUORUM, 0, true, &body)?;
    let mut at = Reader(&answer);
    let error = i16::from_be_bytes(at.take(2)?.try_into().ok()?);
    at.take(1)?;
    let name = at.take(1)?.first().copied()? as usize;
    at.take(name.checked_sub(1)?)?;
    // Number of partitions, partition, its error.
    at.take(1 + 4 + 2)?;
    let node = i32::from_be_bytes(at.take(4)?.try_into().ok()?);
    (error == 0 && node >= 0).then_some(node)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }
}

fn text(s: &str) -> Vec<u8> {
    [&(s.len() as i16).to_be_bytes(), s.as_bytes()].concat()
}

/// The body of the answer; headers are of the flexible form or of the plain one.
fn ask(address: &str, api_key: i16, version: i16, flexible: bool, body: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut request = [api_key.to_be_bytes(), version.to_be_bytes()].concat();
    request.extend(1_i32.to_be_bytes());
    request.extend(text("tests"));
    request.extend(flexible.then_some(0));
    request.extend(body);
    stream.write_all(&(request.len() as u32).to_be_bytes()).ok()?;
    stream.write_all(&request).ok()?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).ok()?;
    answer.drain(..if flexible { 5 } else { 4 });
    Some(answer)
}
