//! The client over a simulated network, where time is the simulation's and connections really
//! break: a partition of the network is noticed and outlived.

use super::*;
use turmoil::net::{TcpListener, TcpStream};

fn connector() -> Arc<dyn Connect> {
    Arc::new(connect_fn(|host: String, port| async move {
        let stream = TcpStream::connect((host, port)).await?;
        Ok(Box::new(stream) as Box<dyn Transport>)
    }))
}

async fn listen(cluster: Cluster, host: &str) -> turmoil::Result {
    let listener = TcpListener::bind(("0.0.0.0", 9092)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        cluster.0.lock().open += 1;
        tokio::spawn(cluster.clone().serve(host.to_owned(), FakeBroker::new(stream)));
    }
}

#[test]
fn a_partition_of_the_network_is_noticed_and_outlived() {
    let mut builder = turmoil::Builder::new();
    builder.simulation_duration(Duration::from_secs(300)).rng_seed(7);
    let mut sim = builder.build();
    let cluster = Cluster::new(&[1]).with_topic("t", &[(1, 0)]);
    for host in ["boot", "host1"] {
        let cluster = cluster.clone();
        sim.host(host, move || listen(cluster.clone(), host));
    }
    sim.client("client", async move {
        let config = ClientConfig::builder()
            .set("bootstrap.servers", "boot:9092")
            .set("request.timeout.ms", "5000")
            .build()?;
        let client = Client::start(&config, Some(connector()), true, ClientKind::Producer);
        client.topic("t", within(SOON)).await?;
        let request = FindCoordinatorRequest::default();
        client.call(BrokerId(1), &request).await?;

        turmoil::partition("client", "host1");
        let start = Instant::now();
        let error = client.call(BrokerId(1), &request).await.unwrap_err();
        assert!(matches!(error, ClientError::RequestTimeout { .. }), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());

        turmoil::repair("client", "host1");
        let start = Instant::now();
        client.call_any(&request, within(SOON)).await?;
        client.call(BrokerId(1), &request).await?;
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        assert!(client.close(within(SOON)).await);
        Ok(())
    });
    sim.run().unwrap();
}
