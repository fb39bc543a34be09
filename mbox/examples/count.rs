use postrider_mbox::*;
fn main() {
    for path in std::env::args().skip(1) {
        let file = std::fs::read(&path).unwrap();
        let mut s = Splitter::new(Policy::Evidence);
        let (mut at, mut n, mut junk, mut doubts, mut wrong) = (0, 0, 0, 0, 0);
        loop {
            match s.next(&file[at..], true) {
                Step::Event { consumed, event } => {
                    at += consumed;
                    match event {
                        Event::Start { .. } => n += 1,
                        Event::Junk(j) => junk += j.len(),
                        Event::Doubt(d) => {
                            doubts += 1;
                            if doubts < 3 {
                                println!("   {d:?}")
                            }
                        }
                        Event::End(e) if e.length == Length::Wrong => wrong += 1,
                        _ => {}
                    }
                }
                Step::End => break,
                other => panic!("{other:?}"),
            }
        }
        println!("{n} junk {junk} doubts {doubts} wrong {wrong} {}", path.rsplit("corpus/mbox/").next().unwrap());
    }
}
