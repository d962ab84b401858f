//! The lines of a batch.

use bowline_core::peer::{Receiving, Sending, Transport, TransportEnd};
use bowline_transport::Lines;

#[tokio::test]
async fn lines_arrive_in_order_followed_by_the_end() {
    let (lines, control) = Lines::new(100);
    let (_sender, mut receiver) = lines.split();
    control.end(TransportEnd::Ended);
    control.end(TransportEnd::Failed("later".to_owned()));
    for line in ["a", "b"] {
        control.push(line.to_owned());
    }
    assert_eq!(receiver.try_receive().unwrap().unwrap(), "a");
    assert_eq!(receiver.receive().await.unwrap(), "b");
    assert!(receiver.try_receive().is_none());
    assert_eq!(receiver.receive().await.unwrap_err(), TransportEnd::Ended);
}

#[tokio::test]
async fn session_is_starved_only_after_it_has_handled_all_messages() {
    let (lines, control) = Lines::new(100);
    let (_sender, mut receiver) = lines.split();
    control.push("a".to_owned());
    receiver.try_receive().unwrap().unwrap();
    assert!(receiver.try_receive().is_none());
    tokio::select! {
        biased;
        () = control.starved() => panic!("messages that were taken may not have been handled yet"),
        _ = receiver.receive() => panic!("there should be nothing to receive"),
        () = async {} => {}
    }
    tokio::select! {
        biased;
        _ = receiver.receive() => panic!("there should be nothing to receive"),
        () = control.starved() => {}
    }
}

#[tokio::test]
async fn lines_beyond_the_limit_are_discarded() {
    let (lines, control) = Lines::new(5);
    let (mut sender, _receiver) = lines.split();
    sender.feed("ab".to_owned()).await.unwrap();
    sender.feed("cd".to_owned()).await.unwrap();
    assert!(!control.overflowed());
    sender.feed(String::new()).await.unwrap_err();
    assert!(control.overflowed());
    assert_eq!(control.take(), "ab\ncd");
}
