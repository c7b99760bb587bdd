package emulator

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/number"
)

var errTaken = errors.New("not taken")

// postbox is a post that notes each push, when it came, and answers as told.
type postbox struct {
	mu     sync.Mutex
	began  time.Time
	pushes [][]members
	at     []time.Duration
	answer func(push int) error
}

func newPostbox(answer func(push int) error) *postbox {
	return &postbox{began: time.Now(), answer: answer}
}

func (p *postbox) post(_ context.Context, reports []members) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushes = append(p.pushes, reports)
	p.at = append(p.at, time.Since(p.began))
	return p.answer(len(p.pushes))
}

func (p *postbox) times() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.at)
}

func (p *postbox) all() (reports []members) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, push := range p.pushes {
		reports = append(reports, push...)
	}
	return reports
}

var (
	always = func(int) error { return nil }
	never  = func(int) error { return errTaken }

	serviceWaits = []time.Duration{time.Minute, 5 * time.Minute, 10 * time.Minute}
)

func testReport(outID string) dueReport {
	n := number.Number{Received: "8613812345678", Key: "13812345678"}
	return dueReport{message: &message{number: n, outID: outID, bizID: "1^0", at: testStart}}
}

func TestReportsAreRepeatedLikeTheServiceDoes(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		answer func(int) error
		at     []time.Duration
		counts ReportStats
	}{
		"taken":       {always, []time.Duration{0}, ReportStats{Delivered: 1}},
		"never taken": {never, []time.Duration{0, time.Minute, 6 * time.Minute, 16 * time.Minute}, ReportStats{Failed: 4, GivenUp: 1}},
		"taken at third": {func(push int) error {
			if push < 3 {
				return errTaken
			}
			return nil
		}, []time.Duration{0, time.Minute, 6 * time.Minute}, ReportStats{Delivered: 1, Failed: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				box := newPostbox(row.answer)
				p := newPusher(t.Context(), box.post, serviceWaits, slog.New(slog.DiscardHandler))
				p.push(testReport("a"))
				elapse(time.Hour)
				assert.Equal(t, row.at, box.times())
				assert.Equal(t, row.counts, p.stats())
				p.close()
			})
		})
	}
}

func TestReportsGatherInBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := newPostbox(always)
		slow := func(ctx context.Context, reports []members) error {
			elapse(time.Second)
			return box.post(ctx, reports)
		}
		p := newPusher(t.Context(), slow, serviceWaits, slog.New(slog.DiscardHandler))
		defer p.close()
		const n = 1000
		for i := range n {
			p.push(testReport(strconv.Itoa(i)))
		}
		elapse(time.Minute)
		reports := box.all()
		require.Len(t, reports, n)
		seen := map[string]bool{}
		for _, r := range reports {
			seen[r["out_id"].(string)] = true
		}
		assert.Len(t, seen, n, "each once")
		assert.LessOrEqual(t, len(box.times()), n/maxReportBatch+1)
		assert.Equal(t, int64(n), p.stats().Delivered)
	})
}

// TestOneFailingBatchHoldsUpNoOther: it waits for its repetition, the others don't.
func TestOneFailingBatchHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := newPostbox(never)
		p := newPusher(t.Context(), box.post, serviceWaits, slog.New(slog.DiscardHandler))
		defer p.close()
		for range 10 {
			p.push(testReport("a"))
			synctest.Wait()
		}
		assert.Len(t, box.times(), 10)
	})
}

// TestCloseEndsPushing whether reports wait, are being pushed, or are waiting to
// be repeated. None is pushed later.
func TestCloseEndsPushing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began, pushes := time.Now(), 0
		hang := func(ctx context.Context, _ []members) error {
			<-ctx.Done()
			return ctx.Err()
		}
		fail := func(context.Context, []members) error { return errTaken }
		for _, post := range []post{hang, fail} {
			p := newPusher(t.Context(), func(ctx context.Context, reports []members) error {
				pushes++
				return post(ctx, reports)
			}, serviceWaits, slog.New(slog.DiscardHandler))
			for range 3 {
				p.push(testReport("now"))
				synctest.Wait()
			}
			p.close()
		}
		assert.Zero(t, time.Since(began))
		elapse(time.Hour)
		assert.Equal(t, 1+3, pushes)
	})
}

// TestReportOnTheWire reads the push of a real emulator as a receiver does.
func TestReportOnTheWire(t *testing.T) {
	t.Parallel()
	type push struct {
		contentType string
		body        string
	}
	got := make(chan push, 10)
	answers := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- push{r.Header.Get("Content-Type"), string(body)}
		_, _ = io.WriteString(w, <-answers)
	}))
	t.Cleanup(receiver.Close)
	e, _ := newTest(t, Options{
		ReportURL: receiver.URL + "/secret", ReportWaits: []time.Duration{time.Millisecond},
		Faults: []string{"undelivered,phone=85268326366"},
	})
	t.Cleanup(e.Close)

	biz := mustSend(t, e).BizID
	want := `[{"phone_number":"13812345678","send_time":"2026-11-22 12:30:00","report_time":"2026-11-22 12:30:00",
		"success":true,"err_code":"DELIVERED","err_msg":"用户接收成功","sms_size":"1","biz_id":"` + biz + `","out_id":"req-1"}]`
	answers <- `{"code":1,"msg":"no"}`
	first := <-got
	assert.JSONEq(t, want, first.body)
	assert.Equal(t, "application/json;charset=utf-8", first.contentType)
	answers <- `{"code":0,"msg":"ok"}`
	assert.Equal(t, first, <-got, "repeated as it was")

	mustSend(t, e, "PhoneNumbers", "85268326366")
	answers <- `{"code":0}`
	var reports []members
	require.NoError(t, json.Unmarshal([]byte((<-got).body), &reports))
	require.Len(t, reports, 1)
	assert.Equal(t, false, reports[0]["success"])
	assert.Equal(t, "MOBILE_NOT_ON_SERVICE", reports[0]["err_code"])
	require.Eventually(t, func() bool { return e.Stats().Reports.Delivered == 2 }, 5*time.Second, time.Millisecond)
	assert.Equal(t, int64(1), e.Stats().Reports.Failed)
}

func TestPostFailures(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // net/http watches for the client's end only after its body
		switch r.URL.Path {
		case "/500":
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"code":0}`)
		case "/redirect":
			http.Redirect(w, r, "/ok", http.StatusTemporaryRedirect)
		case "/hang":
			<-r.Context().Done()
		case "/ok":
			_, _ = io.WriteString(w, `{"code":0,"msg":"ok"}`)
		case "/no-code":
			_, _ = io.WriteString(w, `{}`)
		default:
			_, _ = io.WriteString(w, "thanks")
		}
	}))
	t.Cleanup(server.Close)
	for path, want := range map[string]string{
		"/ok": "", "/500": "status 500", "/redirect": "status 307", "/no-code": "status 200", "/text": "status 200",
		"/hang": "no answer within 700 ms",
	} {
		t.Run(path[1:], func(t *testing.T) {
			t.Parallel()
			err := httpPost(server.URL+path)(t.Context(), nil)
			if want == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, want)
			assert.NotContains(t, err.Error(), path)
		})
	}
	err := httpPost("http://127.0.0.1:1/secret")(t.Context(), nil)
	assert.ErrorContains(t, err, "connection refused")
	assert.NotContains(t, err.Error(), "secret")
	for _, url := range []string{"http://a b/secret", "secret", "ftp://127.0.0.1/secret"} {
		err = httpPost(url)(t.Context(), nil)
		assert.Error(t, err)
		assert.NotContains(t, err.Error(), "secret")
	}
}
