//! Sorting of lists that are never longer than a dozen items.
//!
//! The sort of the standard library is made for long lists and takes 8 KB of the binary for each type of item.

/// Sorts a short list by a number of each item, the largest first. Items with equal numbers keep their order.
pub fn largest_first<T, N: PartialOrd>(items: &mut [T], number: impl Fn(&T) -> N) {
    for end in 1..items.len() {
        for place in (1..=end).rev() {
            match items.get(place - 1..=place) {
                Some([before, item]) if number(before) < number(item) => {
                    items.swap(place - 1, place);
                }
                _ => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_items_keep_their_order_behind_larger_ones() {
        let mut items = [(2, 'a'), (5, 'b'), (2, 'c'), (9, 'd'), (5, 'e'), (0, 'f')];
        largest_first(&mut items, |item| item.0);
        let names: String = items.iter().map(|item| item.1).collect();
        assert_eq!(names, "dbeacf");
        let mut none = [0; 0];
        largest_first(&mut none, |item| *item);
        let mut one = [0.5];
        largest_first(&mut one, |item| *item);
        assert_eq!(one, [0.5]);
    }
}
