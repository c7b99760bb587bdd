package harness

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// helperVar makes the test binary play the program under test.
const helperVar = "HARNESS_TEST_HELPER"

func TestMain(m *testing.M) {
	if role := os.Getenv(helperVar); role != "" {
		os.Exit(play(role))
	}
	// StartEmulator passes no environment; its first argument tells.
	if len(os.Args) > 1 && os.Args[1] == "emulator" {
		os.Exit(playEmulator())
	}
	goleak.VerifyTestMain(m)
}

// play is a program that prints what a test looks for. Every role ends by
// itself, should its test be killed.
func play(role string) int {
	switch role {
	case "streams":
		fmt.Println("to standard output")
		fmt.Fprintln(os.Stderr, "to standard error")
		fmt.Print("without a line break")
		return 3
	case "environment":
		fmt.Println(strings.Join(os.Environ(), "\n"))
		dir, err := os.Getwd()
		fmt.Println("in", dir, err)
		return 0
	case "interrupt":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, os.Interrupt)
		fmt.Println("ready")
		select {
		case <-signals:
			fmt.Println("stopped in order")
			return 0
		case <-time.After(time.Minute):
			return 1
		}
	case "hang":
		fmt.Println("ready")
		<-time.After(time.Minute)
		return 1
	case "talk":
		// Put together here, so that the text stands in no source or log whole.
		fmt.Println(os.Getenv("SAY_FIRST") + os.Getenv("SAY_THEN"))
		return 0
	default:
		return 2
	}
}

func playEmulator() int {
	if strings.Contains(strings.Join(os.Args, " "), "--listen-elsewhere") {
		fmt.Fprintln(os.Stderr, "listening on http://192.0.2.1:80")
		<-time.After(time.Minute)
		return 1
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 1
	}
	fmt.Fprintf(os.Stderr, "listening on http://%s\n", listener.Addr())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_/sent", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `{"phone":"1","out_id":"a","biz_id":"b","code":"c","at":"2026-03-01T08:00:00Z"}`)
		fmt.Fprintln(w, `{"phone":"2","out_id":"d","biz_id":"e","code":"f","at":"2026-03-01T08:00:01Z"}`)
	})
	mux.HandleFunc("POST /_/reset", func(http.ResponseWriter, *http.Request) { fmt.Fprintln(os.Stderr, "was reset") })
	mux.HandleFunc("POST /_/faults", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no such fault", http.StatusBadRequest)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	time.AfterFunc(time.Minute, func() { _ = server.Close() })
	_ = server.Serve(listener) // it ends with its process
	return 0
}

// recorder stands in for a test that is expected to fail.
type recorder struct {
	testing.TB
	failures []string
	cleanups []func()
}

type stopped struct{}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(stopped{})
}

func (r *recorder) Cleanup(f func())    { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Failed() bool        { return len(r.failures) > 0 }
func (r *recorder) Logf(string, ...any) {}

// failuresOf runs a test with all its cleanups, and returns how it failed.
func failuresOf(t *testing.T, test func(t testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	func() {
		defer func() {
			if p := recover(); p != nil {
				if _, ok := p.(stopped); !ok {
					panic(p)
				}
			}
		}()
		test(r)
	}()
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
	return strings.Join(r.failures, "\n")
}
