//! Elections with more contenders than anybody can draw.

use lab::algorithms::lowest_node;
use lab::kernel::ProcessId;

#[test]
fn of_a_thousand_contenders_one_is_woken_when_one_goes() {
    for gone in [1, 2, 500, 999] {
        let crowd = lowest_node::crowd(1000, ProcessId(gone), false, 20);
        assert_eq!(lowest_node::woken(&crowd), [1], "c{gone} goes");
    }
    let nobody_behind = lowest_node::crowd(1000, ProcessId(1000), false, 20);
    assert_eq!(lowest_node::woken(&nobody_behind), [0], "the last goes");
    let herd = lowest_node::crowd(1000, ProcessId(1), true, 20);
    assert_eq!(lowest_node::woken(&herd), [999], "all watched the first");
}
