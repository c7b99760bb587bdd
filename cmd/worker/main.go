// Command worker sends passcodes by SMS: it takes jobs from NATS JetStream,
// calls Aliyun and announces what became of each. See README.md.
package main

import (
	"context"
	"errors"
	"io"
	"log" //nolint:depguard // to silence it, see run
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	// For an image without a root certificate of its own.
	_ "golang.org/x/crypto/x509roots/fallback"

	"github.com/passcode-worker/passcode-worker/internal/cli"
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/lab/bench"
	"github.com/passcode-worker/passcode-worker/internal/lab/demo"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
	"github.com/passcode-worker/passcode-worker/internal/lab/serve"
	"github.com/passcode-worker/passcode-worker/internal/lab/system"
)

// version is set by the release build with -ldflags "-X main.version=v1.2.3".
var version = "dev"

func main() { os.Exit(run()) }

// run is main with its exit status. The first signal asks the command to stop, the second has it leave at once.
func run() int {
	// net/http writes to the standard logger what a server sent unasked, as it
	// came, and what that is nobody knows. Our own logs don't go there.
	log.SetOutput(io.Discard)

	stop, cancel := context.WithCancelCause(context.Background())
	force, cancelNow := context.WithCancel(context.Background())
	defer cancelNow()
	defer cancel(nil)

	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() { // ends with the process
		<-signals
		cancel(errors.New("stopped by a signal"))
		<-signals
		cancelNow()
	}()

	return cli.Execute(&command.Env{
		Stop:    stop,
		Force:   force,
		Args:    os.Args[1:],
		Environ: os.Environ(),
		Stdin:   os.Stdin,
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Version: version,
	},
		// What only tries and measures is no part of what runs in production.
		kong.DynamicCommand("demo", "Show every path a job can take. Needs nothing installed.", "", &demo.Cmd{}),
		kong.DynamicCommand("emulator", "Serve a local Aliyun SMS for tests and trials.", "", &serve.Cmd{}),
		kong.DynamicCommand("bench", "Measure how many jobs a second this machine does. Needs nothing installed.", "", &bench.Cmd{}),
		kong.DynamicCommand(system.BrokerCommand, "Serve the broker of the commands above.", "", &system.Broker{}, `hidden:""`),
		kong.Vars{"default_key_id": emulator.DefaultAccessKeyID, "default_key_secret": emulator.DefaultAccessKeySecret},
	)
}
