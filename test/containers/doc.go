// Package containers runs NATS servers, alone and in clusters of three, workers and
// emulators in containers for tests: real programs that can be killed, frozen, cut
// off from the others and started again.
//
// It needs a local Docker engine, and pulls nothing: the images are built FROM
// scratch, with the server that go.mod pins and with the worker of this source.
// Tests skip where no engine answers; with REQUIRE_DOCKER=1 they fail there, so that
// a pipeline can't pass by having none. NATS_IMAGE names another server's image,
// such as the official one.
//
// Two settings of testcontainers are made here where the environment leaves them
// open. TESTCONTAINERS_RYUK_DISABLED=true: the reaper's image would have to be
// pulled; every container is removed by its test's cleanup instead.
// TESTCONTAINERS_HOST_OVERRIDE=127.0.0.1: where a file /.dockerenv exists
// testcontainers would address the gateway, while ports are published on the
// loopback interface alone.
package containers
