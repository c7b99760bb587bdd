package emulator

import (
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestStandardLibraryAlone: other programs may take the emulator on for free.
func TestStandardLibraryAlone(t *testing.T) {
	t.Parallel()
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, imported := range parsed.Imports {
			first, _, _ := strings.Cut(imported.Path.Value, "/")
			assert.NotContains(t, first, ".", "%s imports %s", file.Name(), imported.Path.Value)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	e := New(Options{})
	t.Cleanup(e.Close)
	assert.Equal(t, DefaultAccessKeyID, e.opts.AccessKeyID)
	assert.Equal(t, DefaultAccessKeySecret, e.opts.AccessKeySecret)
	assert.Equal(t, serviceWaits, e.opts.ReportWaits)
	mustSend(t, e)

	half := New(Options{AccessKeyID: "mine"})
	t.Cleanup(half.Close)
	assert.Empty(t, half.opts.AccessKeySecret, "a key of one's own is not completed with the default one")
}

// TestConcurrentUse does everything at once, for the race detector, and counts.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{Faults: mustFaults(t, "accept_code=InternalError,count=50")})
	const workers, each = 8, 50
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for j := range each {
				phone := "1380000" + strconv.Itoa(1000+i)
				got := do(t, e, ActionSendSms, sending("PhoneNumbers", phone, "OutId", strconv.Itoa(j)))
				assert.Contains(t, []string{"OK", "InternalError"}, got.Code)
				do(t, e, ActionQuerySendDetails, looking("PhoneNumber", phone))
				e.Stats()
				e.Sent()
			}
		})
	}
	wg.Wait()
	stats := e.Stats()
	assert.Equal(t, int64(workers*each), stats.Accepted)
	assert.Equal(t, int64(50), stats.Answers["InternalError"])
	assert.LessOrEqual(t, stats.MaxInFlight, int64(workers))
	seen := map[string]bool{}
	for _, s := range e.Sent() {
		seen[s.BizID] = true
	}
	assert.Len(t, seen, workers*each)
}

func TestResetDuringUse(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{Limits: true})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 50 {
				mustSendAny(t, e, i*50+j)
				if j%10 == 0 {
					e.Reset()
				}
			}
		})
	}
	wg.Wait()
	assert.Zero(t, e.Stats().InFlight)
}

func mustSendAny(t *testing.T, e *Emulator, n int) {
	t.Helper()
	got := do(t, e, ActionSendSms, sending("PhoneNumbers", strconv.Itoa(13800000000+n)))
	assert.Equal(t, "OK", got.Code)
}

// BenchmarkSendSms measures the handler alone: reading, checking, storing and
// answering. The signing of the requests is left out.
func BenchmarkSendSms(b *testing.B) {
	for name, sign := range map[string]func(e *Emulator) *http.Request{
		"RPC":  func(e *Emulator) *http.Request { return signed(e, ActionSendSms, sending()) },
		"ACS3": func(e *Emulator) *http.Request { return signedACS3(e, sending(), nil) },
	} {
		b.Run(name, func(b *testing.B) {
			e := New(Options{})
			defer e.Close()
			requests := make([]*http.Request, b.N)
			for i := range requests {
				requests[i] = sign(e)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for _, r := range requests {
				w := httptest.NewRecorder()
				e.ServeHTTP(w, r)
			}
			b.StopTimer()
			if len(e.Sent()) != b.N {
				b.Fatal("not all were accepted")
			}
		})
	}
}

// BenchmarkOnTheWire measures a whole call on loopback, the client's work and
// its signing with it.
func BenchmarkOnTheWire(b *testing.B) {
	e := New(Options{})
	server := httptest.NewServer(e)
	defer server.Close()
	defer e.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := signed(e, ActionSendSms, sending())
			r.RequestURI, r.URL.Host = "", strings.TrimPrefix(server.URL, "http://")
			resp, err := client.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
	if len(e.Sent()) != b.N {
		b.Error("not all were accepted")
	}
}

// BenchmarkMemory reports the bytes that an accepted message keeps.
func BenchmarkMemory(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const n = 50_000
	b.ReportAllocs()
	for range min(b.N, 1) { // it measures memory, and once is as good as often
		e := New(Options{})
		before := heap()
		for i := range n {
			e.ServeHTTP(httptest.NewRecorder(), signed(e, ActionSendSms, sending("PhoneNumbers", strconv.Itoa(13800000000+i), "OutId", strconv.Itoa(1e15+i))))
		}
		b.ReportMetric(float64(heap()-before)/n, "bytes/message")
		if len(e.Sent()) != n {
			b.Fatal("not all were accepted")
		}
		e.Close()
	}
}
