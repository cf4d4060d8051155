//! Ports and files.

use super::*;

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

fn bind(at: ListenAt) -> io::Result<(Entrance, Listen)> {
    Entrance::bind(&Listen { at, is_tls: false }, None, &Porter::default())
}

#[test]
fn the_port_that_was_picked_is_told() {
    run(async {
        let asked = ListenAt::Tcp(([127, 0, 0, 1], 0).into());
        let (_entrance, listen) = bind(asked).unwrap();
        let ListenAt::Tcp(address) = listen.at else {
            panic!("a port becomes a port");
        };
        assert!(address.port() > 0);
        let taken = bind(ListenAt::Tcp(address)).expect_err("it is taken");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    });
}

#[test]
fn a_stale_socket_is_removed_and_a_live_one_is_not() {
    run(async {
        let name = format!("quorate-listener-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Somebody who was killed leaves the file behind.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (mut entrance, _) = bind(ListenAt::Unix(path.clone())).expect("it was stale");
        let live = bind(ListenAt::Unix(path.clone())).expect_err("somebody listens there");
        assert_eq!(live.kind(), io::ErrorKind::AddrInUse);
        let client = StdUnixStream::connect(&path).unwrap();
        // The first is the question whether anybody is there.
        for _ in 0..2 {
            let visitor = entrance.accept().await.unwrap();
            assert_eq!((visitor.from, visitor.socket.is_secure()), (None, false));
        }
        drop((client, entrance));
        assert!(!path.exists(), "the file goes with the listener");
        std::fs::write(&path, "precious").unwrap();
        let file = bind(ListenAt::Unix(path.clone())).expect_err("no socket at all");
        assert_eq!(file.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn tls_without_a_certificate_is_no_entrance() {
    run(async {
        let at = ListenAt::Tcp(([127, 0, 0, 1], 0).into());
        let listen = Listen { at, is_tls: true };
        assert!(Entrance::bind(&listen, None, &Porter::default()).is_err());
    });
}
