//! Which key and which value operation number `n` uses: pure functions of `n`, so that a run can be repeated.

/// Spreads neighbouring numbers over all of `u64` (the finalizer of splitmix64).
pub(crate) fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A key of 24 bytes, in the order of `n`. `space` has five letters and keeps workloads apart.
pub(crate) fn key(space: &str, n: u64) -> Vec<u8> {
    format!("{space}/{n:018}").into_bytes()
}

/// The end of all keys of a space: the space, and the character after the slash.
pub(crate) fn end_of(space: &str) -> Vec<u8> {
    format!("{space}0").into_bytes()
}

/// `bytes` bytes that do not compress.
pub(crate) fn value(n: u64, bytes: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(bytes + 8);
    let mut word = n;
    while value.len() < bytes {
        word = mix(word);
        value.extend_from_slice(&word.to_le_bytes());
    }
    value.truncate(bytes);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_24_bytes_and_the_order_of_their_numbers() {
        assert_eq!(key("bench", 0).len(), 24);
        assert!(key("bench", 9) < key("bench", 10));
        assert!(key("bench", u64::from(u32::MAX)) < end_of("bench"));
    }

    #[test]
    fn a_value_has_its_length_and_is_not_its_neighbour() {
        assert_eq!(value(1, 256).len(), 256);
        assert_eq!(value(1, 3).len(), 3);
        assert_ne!(value(1, 256), value(2, 256));
    }
}
