package main

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

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
)

// demoCmd is "worker demo".
type demoCmd struct {
	Stay bool `help:"Go on serving afterwards, to be tried with any NATS client."`
	Jobs int  `default:"2000" help:"How many jobs the last part sends at once."`
}

// Run plays every scene and fails where one ends otherwise than it should.
func (d *demoCmd) Run(e *env) error {
	if d.Jobs < 1 || d.Jobs > 100_000 {
		return usageError{errors.New("worker demo: --jobs must be 1 to 100000")}
	}
	st, err := newStage(e)
	if err != nil {
		return err
	}
	defer st.close()
	st.screen.intro(st)

	failed := 0
	for _, s := range scenes(d.Jobs) {
		if e.stop.Err() != nil {
			return errors.New("demo stopped")
		}
		if err := st.play(e.stop, s); err != nil {
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
		<-e.stop.Done()
	}
	return nil
}

// stage is what the demo plays on: a broker and an emulated Aliyun in this
// process, and workers in processes of their own, so that one can be killed.
type stage struct {
	e        *env
	screen   *screen
	dir      string
	logFile  *os.File
	embedded *broker.Embedded
	link     *link
	emulator *emulator.Emulator
	endpoint string
	serving  sync.WaitGroup
	stopping context.CancelFunc
	worker   *child
	rows     []row
}

// demoPatience bounds how long one scene may take.
const demoPatience = 45 * time.Second

func newStage(e *env) (*stage, error) {
	dir, err := os.MkdirTemp("", "passcode-demo-")
	if err != nil {
		return nil, err
	}
	st := &stage{e: e, dir: dir, screen: newScreen(e.stdout)}
	if err := st.open(e); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

func (st *stage) open(e *env) (err error) {
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
	listener, err := (&net.ListenConfig{}).Listen(e.stop, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	st.endpoint = listener.Addr().String()
	// The stage outlives a stop: what is on it ends in order, in close.
	ctx, stopping := context.WithCancel(context.WithoutCancel(e.stop))
	st.stopping = stopping
	st.serving.Go(func() { _ = serveEmulator(ctx, st.emulator, listener) })

	st.link, err = dial(e.stop, config.Default().NATS, st.embedded.URL(), "demo", broker.CommandInbox, quiet)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(e.stop, commandPatience)
	defer cancel()
	if err := broker.WaitConnected(bounded, st.link.nc); err != nil {
		return err
	}
	return st.startWorker(bounded)
}

// close takes the stage down.
func (st *stage) close() {
	if st.worker != nil {
		st.worker.stop()
	}
	if st.link != nil {
		st.link.nc.Close()
	}
	if st.stopping != nil {
		st.stopping()
		st.serving.Wait()
	}
	if st.embedded != nil {
		ctx, cancel := context.WithTimeout(context.Background(), teardownTimeout)
		defer cancel()
		if err := st.embedded.Stop(ctx); err != nil {
			say(st.e.stderr, "worker demo: %v", err)
		}
	}
	if st.logFile != nil {
		_ = st.logFile.Close() // only written by the workers, which are gone
	}
	if err := os.RemoveAll(st.dir); err != nil {
		say(st.e.stderr, "worker demo: %v", err)
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
