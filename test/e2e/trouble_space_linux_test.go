package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

// load publishes 300 jobs a second until it is stopped, which waits for the last
// answer and returns the requests whose jobs were acknowledged.
func (s *troubled) load() (stop func() []string) {
	ending, ended := make(chan struct{}), make(chan []string)
	go func() {
		var mu sync.Mutex
		var acked []string
		var answers sync.WaitGroup
		each := time.NewTicker(time.Second / 300)
		defer each.Stop()
		for i := 0; ; i++ {
			select {
			case <-each.C:
			case <-ending:
				answers.Wait()
				ended <- acked
				return
			}
			answers.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				defer cancel()
				id := fmt.Sprintf("load-%d", i)
				if _, err := s.js.Publish(ctx, "passcode.send", []byte(job(id, phoneOf(1000+i))), jetstream.WithMsgID(id)); err != nil {
					return // nobody promised anything
				}
				mu.Lock()
				defer mu.Unlock()
				acked = append(acked, id)
			})
		}
	}()
	return func() []string {
		close(ending)
		return <-ended
	}
}

// fillDisk writes a file until the file system is full. Calling what it returns
// makes room again.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	require.NoError(t, err)
	for size := 1 << 20; size > 0; {
		if _, err = f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
	return func() { require.NoError(t, os.Remove(filler)) }
}

// TestNoSpaceOnDisk: the broker's disk runs full under load, and has room again.
// nats-server 2.15 then stores nothing more in the streams that met the full disk
// until it is restarted, and leaves unanswered what is published. The worker can't
// end that, but says within 30 seconds what to do. Then all that was acknowledged
// comes to its end, once.
func TestNoSpaceOnDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skip("needs the right to mount a small file system: ", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) }) // after the server's
	broker := brokertest.Server(t, func(o *server.Options) {
		o.StoreDir, o.JetStreamMaxStore = dir, 1<<30
	})
	s := troubledOn(t, broker, nil)
	s.run("jobs.max_bytes", "1MiB")
	s.wentOn("before", s.goodAndBad("before", 3, 0))

	stop := s.load()
	s.results.begun(300)
	free := fillDisk(t, dir)
	full := make(chan struct{})
	time.AfterFunc(3*time.Second, func() { close(full) })
	<-full
	free()
	acked := stop()
	freed := time.Now()
	s.named("stores no jobs (no space left on device): make room on its disk, then restart it")
	assert.WithinDuration(t, freed, time.Now(), 30*time.Second)
	s.w.WaitFor("a server of the broker must be restarted", bound)
	_, metrics := s.http.get("/metrics")
	assert.Contains(t, metrics, "passcode_broker_restart_needed 1")
	assert.Contains(t, s.finished(1, "check").Output(), "stores nothing more in it: no space left on device")

	broker.Restart()
	s.untilReady()
	_, metrics = s.http.get("/metrics")
	assert.Contains(t, metrics, "passcode_broker_restart_needed 0")
	s.allSent(acked...)
	s.noneTwice()
	s.wentOn("after", s.goodAndBad("after", 10, 500))
	s.quiet()
}
