package emulator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"sync"
	"time"
)

const (
	// reportTimeout is how long the service waits for the answer to a push.
	reportTimeout = 700 * time.Millisecond
	// maxReportBatch is how many reports one push holds at most.
	maxReportBatch = 100
)

// report is one element of a push, as the service writes it.
type report struct {
	PhoneNumber string `json:"phone_number"`
	SendTime    string `json:"send_time"`
	ReportTime  string `json:"report_time"`
	Success     bool   `json:"success"`
	ErrCode     string `json:"err_code"`
	ErrMsg      string `json:"err_msg"`
	SmsSize     string `json:"sms_size"`
	BizID       string `json:"biz_id"`
	OutID       string `json:"out_id"`
}

func (m *message) report() report {
	success, code, meaning := m.outcome()
	return report{
		PhoneNumber: m.number.Key, SendTime: serviceTime(m.at), ReportTime: serviceTime(m.reported),
		Success: success, ErrCode: code, ErrMsg: meaning, SmsSize: "1", BizID: m.bizID, OutID: m.outID,
	}
}

// post pushes reports once. Its error holds neither the secret URL nor a report.
type post func(ctx context.Context, reports []report) error

// pusher pushes each delivery report until it is answered or given up. It makes one
// push at a time; reports that are due meanwhile gather into the next.
type pusher struct {
	post  post
	waits []time.Duration
	log   *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{} // holds one word: something is waiting

	mu      sync.Mutex
	waiting []dueReport // by time
	resets  int
	counts  ReportStats
}

// dueReport is a message's report that waits for its next push.
type dueReport struct {
	due     time.Time
	message *message
	pushes  int // that failed
}

func newPusher(post post, waits []time.Duration, log *slog.Logger) *pusher {
	p := &pusher{post: post, waits: waits, log: log, wake: make(chan struct{}, 1)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.work.Go(p.run)
	return p
}

// push lets a message's report be pushed after a while.
func (p *pusher) push(m *message, after time.Duration) {
	p.mu.Lock()
	p.add(dueReport{due: time.Now().Add(after), message: m})
	p.mu.Unlock()
}

// add queues a report. The caller holds the lock.
func (p *pusher) add(r dueReport) {
	i := sort.Search(len(p.waiting), func(i int) bool { return p.waiting[i].due.After(r.due) })
	p.waiting = slices.Insert(p.waiting, i, r)
	select {
	case p.wake <- struct{}{}:
	default: // it is awake already
	}
}

// run pushes what is due until the pusher is closed.
func (p *pusher) run() {
	for {
		batch, resets, wait := p.takeDue(time.Now())
		if batch == nil {
			select {
			case <-p.wake:
			case <-wait:
			case <-p.ctx.Done():
				return
			}
			continue
		}
		reports := make([]report, len(batch))
		for i, r := range batch {
			reports[i] = r.message.report()
		}
		err := p.post(p.ctx, reports)
		if p.ctx.Err() != nil {
			return
		}
		p.settle(batch, resets, err)
	}
}

// takeDue takes the reports that are due, or tells when the first will be.
func (p *pusher) takeDue(now time.Time) (batch []dueReport, resets int, wait <-chan time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < min(maxReportBatch, len(p.waiting)) && !p.waiting[n].due.After(now) {
		n++
	}
	switch {
	case n > 0:
		batch = slices.Clone(p.waiting[:n])
		p.waiting = p.waiting[n:]
	case len(p.waiting) > 0:
		wait = time.After(p.waiting[0].due.Sub(now))
	}
	return batch, p.resets, wait
}

// settle counts a push, and queues failed reports again unless they are given up.
// Reports that a reset dropped don't count.
func (p *pusher) settle(batch []dueReport, resets int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if resets != p.resets {
		return
	}
	if err == nil {
		p.counts.Delivered += int64(len(batch))
		return
	}
	p.counts.Failed += int64(len(batch))
	givenUp := 0
	for _, r := range batch {
		if r.pushes == len(p.waits) {
			givenUp++
			continue
		}
		r.due = time.Now().Add(p.waits[r.pushes])
		r.pushes++
		p.add(r)
	}
	p.counts.GivenUp += int64(givenUp)
	p.log.Warn("delivery reports not taken", "reports", len(batch), "given_up", givenUp, "error", err)
}

func (p *pusher) stats() ReportStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// reset drops what waits, and what is in progress once it fails.
func (p *pusher) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting, p.counts = nil, ReportStats{}
	p.resets++
}

// close ends every push and waits for it.
func (p *pusher) close() {
	p.cancel()
	p.work.Wait()
}

// httpPost pushes to a URL.
func httpPost(address string) post {
	client := &http.Client{
		// The default transport would use a proxy of the environment. Connections are
		// not kept, so that none is left behind.
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, reports []report) error {
		ctx, cancel := context.WithTimeoutCause(ctx, reportTimeout, errors.New("no answer within 700 ms"))
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(encode(reports)))
		if err != nil {
			return errors.New("the report URL is not valid") // the error of net/http quotes it
		}
		req.Header.Set("Content-Type", "application/json;charset=utf-8")
		resp, err := client.Do(req)
		if err != nil {
			var withURL *url.Error
			if errors.As(err, &withURL) {
				err = withURL.Err
			}
			return cmp.Or(context.Cause(ctx), err)
		}
		defer func() { _ = resp.Body.Close() }() // it was only read
		var answer struct {
			Code *int `json:"code"`
		}
		_ = json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&answer) // then there is no code
		switch {
		case resp.StatusCode == http.StatusOK && answer.Code != nil && *answer.Code == 0:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		default:
			return fmt.Errorf("status %d: the answer is not 200 with code 0", resp.StatusCode)
		}
	}
}
