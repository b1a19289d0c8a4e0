//! The draw of the next partition for records without a key, weighted by how many batches wait for each (KIP-794).
//! A function of the queues' lengths and of one random number; where both come from is not known here.

/// One of `choices`, or `None` if there are none. `waiting` tells how many batches wait for a partition.
///
/// The weight of a partition is the length of the longest queue plus 1, less the length of its own: queues of 0, 3 and
/// 1 batches give the weights 4, 1 and 3. Java folds these into a table of running sums in each turn of its sender; here
/// the queues are asked twice at the draw instead, once for the sum and once to find the place. That is once per batch
/// and of what is true now, and it needs neither memory nor work when nobody draws.
///
/// Of queues of the same length any is drawn *except* `from`, if there is another one. Java may draw the same partition
/// again, which then gets two batches in a row while the others have none.
pub(super) fn draw(
    choices: impl Iterator<Item = i32> + Clone,
    from: i32,
    waiting: impl Fn(i32) -> usize,
    random: u64,
) -> Option<i32> {
    let (mut count, mut sum, mut shortest, mut longest) = (0, 0, u64::MAX, 0);
    let length = |partition| waiting(partition) as u64;
    for length in choices.clone().map(length) {
        count += 1;
        sum += length;
        shortest = shortest.min(length);
        longest = longest.max(length);
    }
    if shortest >= longest {
        return draw_evenly(choices, from, random);
    }
    let mut left = random % (count * (longest + 1) - sum);
    let mut last = None;
    for partition in choices {
        let weight = (longest + 1).saturating_sub(length(partition));
        if left < weight {
            return Some(partition);
        }
        left -= weight;
        last = Some(partition);
    }
    // Queues have grown since they were counted.
    last
}

fn draw_evenly(
    mut choices: impl Iterator<Item = i32> + Clone,
    from: i32,
    random: u64,
) -> Option<i32> {
    let mut others = choices.clone().filter(|&partition| partition != from);
    match others.clone().count() {
        0 => choices.next(),
        count => others.nth(usize::try_from(random % count as u64).unwrap_or(0)),
    }
}
