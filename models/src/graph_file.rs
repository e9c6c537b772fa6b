//! A look at the bytes of an ONNX file before a C++ library parses them.
//! In: bytes. Out: nothing, or the reason to refuse them: weights that lie in other files, tensors that claim more
//! than the file can hold, too many nodes, too deep a nesting, or no ONNX at all.
//!
//! Field numbers are those of onnx.proto (ONNX 1.17, `ModelProto` and below).

use thiserror::Error;

/// Most nodes, over all graphs of a file.
pub const MAX_NODES: usize = 100_000;
/// Deepest nesting of graphs in graphs.
pub const MAX_DEPTH: usize = 8;

/// Why a file is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GraphFault {
    /// Not a protobuf message of the expected shape.
    #[error("the bytes are not an ONNX model (at byte {0})")]
    Malformed(usize),
    /// No graph in it.
    #[error("the file holds no graph")]
    NoGraph,
    /// Weights in another file.
    #[error("a tensor's external data would be read from another file; put the weights into the model")]
    ExternalData,
    /// A tensor that claims more elements than the file has room for.
    #[error("a tensor claims {claimed} elements in a file of {bytes} bytes")]
    FalseSize {
        /// Elements by its dimensions.
        claimed: u128,
        /// Size of the file.
        bytes: usize,
    },
    /// Too many nodes.
    #[error("the graph has more than {MAX_NODES} nodes")]
    TooManyNodes,
    /// Too deep.
    #[error("graphs are nested deeper than {MAX_DEPTH}")]
    TooDeep,
}

/// Refuses a file that should not reach the back end.
///
/// # Errors
/// [`GraphFault`] says why.
///
/// ```
/// use auscult_models::{Registry, graph_file::{GraphFault, inspect}};
/// let good = Registry::shipped()[0].2;
/// assert_eq!(inspect(good), Ok(()));
/// assert!(matches!(inspect(&good[..1000]), Err(GraphFault::Malformed(_))));
/// assert_eq!(inspect(b""), Err(GraphFault::NoGraph));
/// ```
pub fn inspect(bytes: &[u8]) -> Result<(), GraphFault> {
    let mut look = Look { bytes: bytes.len(), nodes: 0 };
    let mut graphs = 0;
    for field in Fields::new(bytes, 0) {
        match field? {
            (7, Payload::Bytes(graph, at)) => {
                graphs += 1;
                look.graph(graph, at, 0)?;
            }
            (25, Payload::Bytes(function, at)) => look.function(function, at)?,
            _ => {}
        }
    }
    if graphs == 1 { Ok(()) } else { Err(GraphFault::NoGraph) }
}

struct Look {
    bytes: usize,
    nodes: usize,
}

impl Look {
    fn graph(&mut self, bytes: &[u8], at: usize, depth: usize) -> Result<(), GraphFault> {
        if depth > MAX_DEPTH {
            return Err(GraphFault::TooDeep);
        }
        for field in Fields::new(bytes, at) {
            match field? {
                (1, Payload::Bytes(node, at)) => self.node(node, at, depth)?,
                (5, Payload::Bytes(tensor, at)) => self.tensor(tensor, at)?,
                (15, Payload::Bytes(sparse, at)) => self.sparse(sparse, at)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn function(&mut self, bytes: &[u8], at: usize) -> Result<(), GraphFault> {
        for field in Fields::new(bytes, at) {
            match field? {
                (7, Payload::Bytes(node, at)) => self.node(node, at, 1)?,
                (11, Payload::Bytes(attribute, at)) => self.attribute(attribute, at, 1)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn node(&mut self, bytes: &[u8], at: usize, depth: usize) -> Result<(), GraphFault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(GraphFault::TooManyNodes);
        }
        for field in Fields::new(bytes, at) {
            if let (5, Payload::Bytes(attribute, at)) = field? {
                self.attribute(attribute, at, depth)?;
            }
        }
        Ok(())
    }

    fn attribute(&mut self, bytes: &[u8], at: usize, depth: usize) -> Result<(), GraphFault> {
        for field in Fields::new(bytes, at) {
            match field? {
                (5 | 10, Payload::Bytes(tensor, at)) => self.tensor(tensor, at)?,
                (6 | 11, Payload::Bytes(graph, at)) => self.graph(graph, at, depth + 1)?,
                (22 | 23, Payload::Bytes(sparse, at)) => self.sparse(sparse, at)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn sparse(&mut self, bytes: &[u8], at: usize) -> Result<(), GraphFault> {
        let mut dense = Size::default();
        for field in Fields::new(bytes, at) {
            match field? {
                (1 | 2, Payload::Bytes(tensor, at)) => self.tensor(tensor, at)?,
                (3, dims) => dense.times(dims)?,
                _ => {}
            }
        }
        // ONNX Runtime makes a sparse tensor dense when it loads it.
        self.fits(dense)
    }

    fn tensor(&mut self, bytes: &[u8], at: usize) -> Result<(), GraphFault> {
        let mut size = Size::default();
        for field in Fields::new(bytes, at) {
            match field? {
                (1, dims) => size.times(dims)?,
                (13, _) => return Err(GraphFault::ExternalData),
                (14, Payload::Number(location)) if location != 0 => return Err(GraphFault::ExternalData),
                _ => {}
            }
        }
        self.fits(size)
    }

    /// The smallest elements are two to a byte.
    fn fits(&self, size: Size) -> Result<(), GraphFault> {
        if size.0 <= 2 * self.bytes as u128 {
            return Ok(());
        }
        Err(GraphFault::FalseSize { claimed: size.0, bytes: self.bytes })
    }
}

/// Product of dimensions.
struct Size(u128);

impl Default for Size {
    fn default() -> Self {
        Self(1)
    }
}

impl Size {
    /// Dimensions come one by one or packed. A negative one is a huge one.
    fn times(&mut self, dims: Payload<'_>) -> Result<(), GraphFault> {
        match dims {
            Payload::Number(n) => self.0 = self.0.saturating_mul(n.into()),
            Payload::Bytes(packed, at) => {
                let mut rest = Fields::new(packed, at);
                while !rest.bytes.is_empty() {
                    self.0 = self.0.saturating_mul(rest.varint()?.into());
                }
            }
            Payload::Other => {}
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Payload<'a> {
    Number(u64),
    /// A string, bytes or message, and where it begins in the file.
    Bytes(&'a [u8], usize),
    Other,
}

/// The fields of one protobuf message.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], GraphFault> {
        let (head, rest) = self.bytes.split_at_checked(n).ok_or(GraphFault::Malformed(self.at))?;
        self.bytes = rest;
        self.at += n;
        Ok(head)
    }

    fn varint(&mut self) -> Result<u64, GraphFault> {
        let mut out = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?.first().copied().unwrap_or_default();
            out |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(out);
            }
        }
        Err(GraphFault::Malformed(self.at))
    }

    fn field(&mut self) -> Result<(u64, Payload<'a>), GraphFault> {
        let tag = self.varint()?;
        let payload = match tag & 7 {
            0 => Payload::Number(self.varint()?),
            1 => self.take(8).map(|_| Payload::Other)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| GraphFault::Malformed(self.at))?;
                let at = self.at;
                Payload::Bytes(self.take(length)?, at)
            }
            5 => self.take(4).map(|_| Payload::Other)?,
            _ => return Err(GraphFault::Malformed(self.at)),
        };
        Ok((tag >> 3, payload))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Payload<'a>), GraphFault>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let found = self.field();
        if found.is_err() {
            self.bytes = &[];
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length-delimited field.
    fn message(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        number_into(&mut out, content.len() as u64);
        out.extend_from_slice(content);
        out
    }

    fn number_into(out: &mut Vec<u8>, mut n: u64) {
        while n > 0x7f {
            out.push(n as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
    }

    fn dims(all: &[u64], packed: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for n in all {
            if !packed {
                out.push(1 << 3);
            }
            number_into(&mut out, *n);
        }
        if packed { message(1, &out) } else { out }
    }

    fn model(initializer: &[u8]) -> Vec<u8> {
        message(7, &message(5, initializer))
    }

    #[test]
    fn a_tensor_that_claims_more_than_the_file_holds_is_refused() {
        for packed in [false, true] {
            assert_eq!(inspect(&model(&dims(&[2, 3], packed))), Ok(()));
            assert_eq!(inspect(&model(&dims(&[1 << 40, 0], packed))), Ok(()), "no elements at all");
            for claim in [&[1_u64 << 40][..], &[1 << 20, 1 << 20, 1 << 20, 1 << 63, 1 << 63], &[u64::MAX]] {
                let found = inspect(&model(&dims(claim, packed)));
                assert!(matches!(found, Err(GraphFault::FalseSize { .. })), "{claim:?}: {found:?}");
            }
        }
    }

    #[test]
    fn external_data_is_refused_wherever_it_hides() {
        let tensor = message(13, b"x");
        let located = [14 << 3, 1];
        let constant = |t: &[u8]| message(7, &message(1, &message(5, &message(5, t))));
        let nested = message(7, &message(1, &message(5, &message(6, &message(5, &tensor)))));
        // Field 25 has a tag of two bytes.
        let function =
            |content: &[u8]| [model(&[]), vec![0xca, 0x01], message(0, content)[1..].to_vec()].concat();
        assert_eq!(inspect(&function(&message(7, b""))), Ok(()));
        let functional = function(&message(7, &message(5, &message(5, &tensor))));
        for bad in
            [model(&tensor), model(&located), constant(&tensor), constant(&located), nested, functional]
        {
            assert_eq!(inspect(&bad), Err(GraphFault::ExternalData));
        }
    }

    #[test]
    fn nesting_and_nodes_are_bounded() {
        let nest = |levels| {
            let inner = (0..levels).fold(Vec::new(), |g, _| message(1, &message(5, &message(6, &g))));
            message(7, &inner)
        };
        assert_eq!(inspect(&nest(MAX_DEPTH)), Ok(()));
        assert_eq!(inspect(&nest(MAX_DEPTH + 1)), Err(GraphFault::TooDeep));
        let nodes = |n: usize| message(7, &message(1, &[]).repeat(n));
        assert_eq!(inspect(&nodes(MAX_NODES)), Ok(()));
        assert_eq!(inspect(&nodes(MAX_NODES + 1)), Err(GraphFault::TooManyNodes));
    }

    #[test]
    fn every_cut_of_a_real_file_ends_in_an_error_or_a_whole_message() {
        let good = crate::Registry::shipped()[0].2;
        for cut in (0..good.len()).step_by(97) {
            assert!(inspect(&good[..cut]).is_err(), "cut at {cut}");
        }
    }
}
