// Package cli tests the commands of the real binary as a user meets them: what
// they print where, and how they exit. Each file in testdata is one script; see
// github.com/rogpeppe/go-internal/testscript for their language.
package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/passcode-worker/passcode-worker/test/brokertest"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// readyWithin bounds the start of a worker under the race detector.
const readyWithin = 60 * time.Second

func TestScripts(t *testing.T) {
	t.Parallel()
	bin := harness.BuildWorker(t)
	// Scripts call "worker", whatever the binary's file is named.
	dir := t.TempDir()
	if err := os.Symlink(bin, filepath.Join(dir, "worker")); err != nil {
		t.Fatal(err)
	}
	server := brokertest.Server(t)
	// One number whose messages Aliyun refuses for their template.
	emulator := harness.StartEmulator(t, bin, "--fault", "code=isv.SMS_TEMPLATE_ILLEGAL,phone=13800000404")
	stopped := brokertest.Server(t)
	stopped.Stop()
	nc, _ := server.Connect()

	w := harness.StartWorker(t, bin, emulator.WorkerEnv(server.URL()), "run")
	w.WaitFor(`"msg":"ready"`, readyWithin)

	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", dir+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("NATS", server.URL())
			env.Setenv("NO_NATS", stopped.URL())
			env.Setenv("EMULATOR", strings.TrimPrefix(emulator.URL, "http://"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"publish":   publish(nc),
			"nostreams": noStreams(nc),
		},
	})
}

// publish is "publish SUBJECT BODY": a message by any NATS client.
func publish(nc *nats.Conn) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 2 {
			ts.Fatalf("usage: publish SUBJECT BODY")
		}
		ts.Check(nc.Publish(args[0], []byte(args[1])))
		ts.Check(nc.Flush())
	}
}

// noStreams is "nostreams PREFIX": the broker has no stream or bucket whose name holds that.
func noStreams(nc *nats.Conn) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: nostreams PREFIX")
		}
		js, err := jetstream.New(nc)
		ts.Check(err)
		ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
		defer cancel()
		names := js.StreamNames(ctx)
		for name := range names.Name() {
			if strings.Contains(name, args[0]) {
				ts.Fatalf("stream %s is there", name)
			}
		}
		ts.Check(names.Err())
	}
}
