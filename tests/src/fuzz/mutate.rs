//! Seeded mutation of seeds: not as clever as libFuzzer, but the same in every run and on stable.

/// Words that mean something somewhere; put in at random places.
const WORDS: [&[u8]; 36] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n.\r\n",
    b".\r\n",
    b"\n.\n",
    b"\0",
    b"..",
    b" ",
    b"\t",
    b"\r\n ",
    b"<",
    b">",
    b"@",
    b":",
    b";",
    b"\"",
    b"\\",
    b"=",
    b"--",
    b"=?utf-8?B?",
    b"MAIL FROM:<a@b.example>\r\n",
    b"DATA\r\n",
    b"BDAT 5 LAST\r\n",
    b"BDAT 99999999999999999999\r\n",
    b"STARTTLS\r\n",
    b"RSET\r\n",
    b"+OK\r\n",
    b"-ERR [SYS/TEMP] x\r\n",
    b"RETR 1\r\n",
    b"4294967296",
    b"18446744073709551615",
    b"\xff\xfe",
    b"\xc3\xa4",
    b"PSR1",
    b"X-Postern-Id: ",
];

/// The longest input made.
const BYTES_MAX: usize = 64 * 1024;

/// Inputs made of seeds, in the same order in every run.
#[derive(Debug)]
pub struct Rounds {
    seeds: Vec<Vec<u8>>,
    random: Random,
    left: u64,
    plain: usize,
}

impl Rounds {
    /// First each seed as it is, then `rounds` mutations, as `seed` has it.
    pub fn new(seeds: Vec<Vec<u8>>, seed: u64, rounds: u64) -> Self {
        Self { seeds, random: Random(seed), left: rounds, plain: 0 }
    }

    fn mutated(&mut self) -> Vec<u8> {
        let mut input = self.pick();
        for _ in 0..=self.random.below(6) {
            self.mutate(&mut input);
        }
        input.truncate(BYTES_MAX);
        input
    }

    fn pick(&mut self) -> Vec<u8> {
        let at = self.random.below(self.seeds.len().max(1));
        self.seeds.get(at).cloned().unwrap_or_default()
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let at = self.random.below(input.len() + 1);
        let end = at + self.random.below((input.len() - at).min(64) + 1);
        match self.random.below(9) {
            0 if at < input.len() => input[at] ^= 1 << self.random.below(8),
            1 if at < input.len() => input[at] = self.random.octet(),
            2 => drop(input.drain(at..end)),
            3 => {
                let copy = input[at..end].repeat(1 + self.random.below(20));
                input.splice(at..at, copy);
            }
            4 => {
                let word = WORDS[self.random.below(WORDS.len())];
                input.splice(at..end.min(at + word.len()), word.iter().copied());
            }
            5 => {
                let noise: Vec<u8> = (0..self.random.below(20)).map(|_| self.random.octet()).collect();
                input.splice(at..at, noise);
            }
            6 => {
                // The end of another seed.
                let other = self.pick();
                let from = self.random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            7 => {
                let word = WORDS[self.random.below(WORDS.len())].repeat(1 + self.random.below(200));
                input.splice(at..at, word);
            }
            _ => input.truncate(at),
        }
    }
}

impl Iterator for Rounds {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(seed) = self.seeds.get(self.plain) {
            self.plain += 1;
            return Some(seed.clone());
        }
        self.left = self.left.checked_sub(1)?;
        Some(self.mutated())
    }
}

/// SplitMix64: small, and good enough to choose mutations.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        // Less than `bound`, so it fits.
        usize::try_from(self.next() % bound as u64).unwrap_or(0)
    }

    fn octet(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}
