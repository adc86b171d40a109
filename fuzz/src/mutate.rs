//! New inputs out of old ones, by chance from a seed.

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

/// Numbers and texts that break parsers.
const EVIL: &[&str] = &[
    "1e308",
    "-1e308",
    "1e400",
    "1e-400",
    "-0",
    "NaN",
    "Infinity",
    "-Infinity",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "9223372036854775808",
    "0.1e1",
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "[[[[[[[[",
    "{\"a\":{\"a\":",
    "\\ud800",
    "\\u0000",
    "\u{feff}",
    "\u{202e}",
    "\r\n",
    "\n\n",
    "\0",
    "%",
    "\\",
    "\"",
    "'",
    "&a [*a]",
    "<<: *a",
    "!!binary",
    "---\n",
];

/// Bytes that are no UTF-8, varints that end too late, lengths beyond everything.
const EVIL_BYTES: &[&[u8]] = &[
    &[0xff],
    &[0xc0, 0x80],
    &[0xed, 0xa0, 0x80],
    &[0x80; 11],
    &[0xff; 9],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x1f, 0x8b],
    &[0x28, 0xb5, 0x2f, 0xfd],
];

/// No new input is longer.
const MAX_LEN: usize = 64 * 1024;

/// Makes inputs.
#[derive(Debug)]
pub struct Mutator<'a> {
    random: SmallRng,
    seeds: &'a [Vec<u8>],
    words: &'a [&'a str],
}

impl<'a> Mutator<'a> {
    /// The same seed makes the same inputs.
    pub fn new(seed: u64, seeds: &'a [Vec<u8>], words: &'a [&'a str]) -> Self {
        Self { random: SmallRng::seed_from_u64(seed), seeds, words }
    }

    /// The next one: a seed with some of it changed.
    pub fn input(&mut self) -> Vec<u8> {
        let mut input = self.seeds.choose(&mut self.random).cloned().unwrap_or_default();
        for _ in 0..self.random.random_range(1..=8) {
            self.change(&mut input);
        }
        input.truncate(MAX_LEN);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.random.random_range(0..=input.len());
        let end = self.random.random_range(at..=input.len().min(at + 64));
        match self.random.random_range(0..8) {
            0 => input.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << self.random.random_range(0..8)),
            1 => drop(input.drain(at..end)),
            2 => {
                let piece = input[at..end].repeat(self.random.random_range(1..20));
                input.splice(at..at, piece);
            }
            3 => drop(input.splice(at..end, EVIL_BYTES.choose(&mut self.random).copied().unwrap_or_default().to_vec())),
            4 => {
                let other = self.seeds.choose(&mut self.random).map(Vec::as_slice).unwrap_or_default();
                let from = self.random.random_range(0..=other.len());
                let piece = other[from..other.len().min(from + 256)].to_vec();
                input.splice(at..end, piece);
            }
            5 => drop(input.splice(at..end, [self.random.random::<u8>()])),
            6 => drop(input.splice(at..end, self.words.choose(&mut self.random).copied().unwrap_or_default().bytes())),
            _ => drop(input.splice(at..end, EVIL.choose(&mut self.random).copied().unwrap_or_default().bytes())),
        }
    }
}
