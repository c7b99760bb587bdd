// Package demo shows every path that a job can take.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/app"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
	"github.com/passcode-worker/passcode-worker/internal/lab/serve"
	"github.com/passcode-worker/passcode-worker/internal/lab/system"
)

// Cmd is "worker demo".
type Cmd struct {
	Stay bool `help:"Go on serving afterwards, to be tried with any NATS client."`
	Jobs int  `default:"2000" help:"How many jobs the last part sends at once."`
}

// Run plays every scene and fails where one ends otherwise than it should.
func (d *Cmd) Run(e *command.Env) error {
	if d.Jobs < 1 || d.Jobs > 100_000 {
		return command.Usagef("worker demo: --jobs must be 1 to 100000")
	}
	st, err := newStage(e)
	if err != nil {
		return err
	}
	defer st.close()
	st.screen.intro(st)

	failed := 0
	for _, s := range scenes(d.Jobs) {
		if e.Stop.Err() != nil {
			return errors.New("demo stopped")
		}
		if err := st.play(e.Stop, s); err != nil {
			failed++
			st.screen.failure(err)
		}
	}
	if err := st.summary(); err != nil {
		failed++
		st.screen.failure(err)
	}
	if failed > 0 {
		return fmt.Errorf("%d parts of the demo did not end as they should; the workers' log is in %s", failed, st.keepLog())
	}
	if d.Stay {
		st.screen.stay(st)
		<-e.Stop.Done()
	}
	return nil
}

// stage is what the demo plays on: a broker and an emulated Aliyun in this
// process, and workers in processes of their own, so that one can be killed.
type stage struct {
	e        *command.Env
	screen   *screen
	dir      string
	logFile  *os.File
	embedded *broker.Embedded
	link     *app.Link
	emulator *emulator.Emulator
	endpoint string
	serving  sync.WaitGroup
	stopping context.CancelFunc
	worker   *system.Child
	rows     []row
}

// closeTimeout bounds how long the broker may take to stop.
const closeTimeout = 5 * time.Second

// demoPatience bounds how long one scene may take.
const demoPatience = 45 * time.Second

func newStage(e *command.Env) (*stage, error) {
	dir, err := os.MkdirTemp("", "passcode-demo-")
	if err != nil {
		return nil, err
	}
	st := &stage{e: e, dir: dir, screen: newScreen(e.Stdout)}
	if err := st.open(e); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

func (st *stage) open(e *command.Env) (err error) {
	if st.logFile, err = os.Create(filepath.Join(st.dir, "worker.log")); err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	st.embedded, err = broker.StartEmbedded(broker.EmbeddedOptions{
		Listen: "127.0.0.1:0", StoreDir: filepath.Join(st.dir, "nats"), Log: quiet,
	})
	if err != nil {
		return err
	}
	st.emulator = emulator.New(emulator.Options{})
	listener, err := (&net.ListenConfig{}).Listen(e.Stop, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	st.endpoint = listener.Addr().String()
	// The stage outlives a stop: what is on it ends in order, in close.
	ctx, stopping := context.WithCancel(context.WithoutCancel(e.Stop))
	st.stopping = stopping
	st.serving.Go(func() { _ = serve.Serve(ctx, st.emulator, listener) })

	st.link, err = app.Dial(e.Stop, config.Default().NATS, st.embedded.URL(), "demo", broker.CommandInbox, quiet)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(e.Stop, command.Patience)
	defer cancel()
	if err := broker.WaitConnected(bounded, st.link.NC); err != nil {
		return err
	}
	return st.startWorker(bounded)
}

// close takes the stage down.
func (st *stage) close() {
	if st.worker != nil {
		st.worker.Stop()
	}
	if st.link != nil {
		st.link.NC.Close()
	}
	if st.stopping != nil {
		st.stopping()
		st.serving.Wait()
	}
	if st.embedded != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := st.embedded.Stop(ctx); err != nil {
			show.Say(st.e.Stderr, "worker demo: %v", err)
		}
	}
	if st.logFile != nil {
		_ = st.logFile.Close() // only written by the workers, which are gone
	}
	if err := os.RemoveAll(st.dir); err != nil {
		show.Say(st.e.Stderr, "worker demo: %v", err)
	}
}

// keepLog copies the workers' log to where it outlives the demo.
func (st *stage) keepLog() string {
	kept, err := os.CreateTemp("", "passcode-demo-*.log")
	if err != nil {
		return "(lost: " + err.Error() + ")"
	}
	defer kept.Close() //nolint:errcheck // reported by the copy
	log, err := os.Open(st.logFile.Name())
	if err != nil {
		return "(lost: " + err.Error() + ")"
	}
	defer log.Close() //nolint:errcheck // only read
	if _, err := io.Copy(kept, log); err != nil {
		return "(lost: " + err.Error() + ")"
	}
	return kept.Name()
}
