//! A bad network between the nodes.

use crate::harness::{Held, Pair};

#[test]
#[ignore = "needs netem: tests/kernels/run"]
fn flows_go_on_though_what_nodes_tell_each_other_is_lost_and_overtaken() {
    let mut pair = Pair::start();
    let _echoes = pair.net.echoes();
    pair.net.lose_between_nodes();
    let mut held = Held::open(&pair.net, 100, 50);
    pair.wait_until_synchronised(held.count());
    assert!(pair.net.lost_between_nodes("b") > 0, "nothing was lost");
    pair.lose_power_of_a();
    held.speak("on the other node");
    pair.return_power_of_a();
    pair.wait_for("a");
    held.speak("on the first one again");
}
