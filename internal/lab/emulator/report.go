package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

const (
	// reportTimeout is how long the service waits for the answer to a push.
	reportTimeout = 700 * time.Millisecond
	// maxReportBatch is how many reports one push holds at most.
	maxReportBatch = 100
	// reportPushes is how many pushes may be under way at once.
	reportPushes = 4
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
		PhoneNumber: m.number.key, SendTime: serviceTime(m.at), ReportTime: serviceTime(m.reported),
		Success: success, ErrCode: code, ErrMsg: meaning, SmsSize: "1", BizID: m.bizID, OutID: m.outID,
	}
}

// post pushes reports once. Its error holds neither the URL, whose path is
// secret, nor a report.
type post func(ctx context.Context, reports []report) error

// pusher pushes delivery reports, each until it is answered or given up.
type pusher struct {
	post  post
	waits []time.Duration
	log   *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	slots  chan struct{} // one for each push under way
	wake   chan struct{} // holds one word: something is waiting

	mu      sync.Mutex
	waiting []dueReport // by time, since all wait equally long
	epoch   int         // counts resets
	counts  ReportStats
}

type dueReport struct {
	due     time.Time
	message *message
}

func newPusher(post post, waits []time.Duration, log *slog.Logger) *pusher {
	p := &pusher{
		post: post, waits: waits, log: log,
		slots: make(chan struct{}, reportPushes), wake: make(chan struct{}, 1),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.work.Go(p.run)
	return p
}

// push lets a message's report be pushed after a while.
func (p *pusher) push(m *message, after time.Duration) {
	p.mu.Lock()
	p.waiting = append(p.waiting, dueReport{time.Now().Add(after), m})
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default: // it is awake already
	}
}

// run hands out batches until the pusher is closed. It takes a slot first, so
// that reports gather into one batch while every slot is taken.
func (p *pusher) run() {
	for p.take() {
		batch, epoch := p.nextBatch()
		if batch == nil {
			return
		}
		p.work.Go(func() { p.deliver(batch, epoch) })
	}
}

// take waits for a slot, and reports false where the pusher is closed.
func (p *pusher) take() bool {
	select {
	case p.slots <- struct{}{}:
		return p.ctx.Err() == nil
	case <-p.ctx.Done():
		return false
	}
}

func (p *pusher) release() { <-p.slots }

// nextBatch waits for reports that are due. It returns none where the pusher is
// closed.
func (p *pusher) nextBatch() ([]report, int) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		batch, epoch, wait := p.due(time.Now())
		if batch != nil {
			return batch, epoch
		}
		var later <-chan time.Time
		if wait > 0 {
			timer.Reset(wait)
			later = timer.C
		}
		select {
		case <-p.wake:
		case <-later:
		case <-p.ctx.Done():
			return nil, 0
		}
	}
}

// due takes the reports that are due, or says how long until the first is; 0
// where none waits.
func (p *pusher) due(now time.Time) (batch []report, epoch int, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(batch) < maxReportBatch && len(batch) < len(p.waiting) && !p.waiting[len(batch)].due.After(now) {
		batch = append(batch, p.waiting[len(batch)].message.report())
	}
	p.waiting = p.waiting[len(batch):]
	if batch == nil && len(p.waiting) > 0 {
		wait = p.waiting[0].due.Sub(now)
	}
	return batch, p.epoch, wait
}

// deliver pushes a batch, again after each wait, while it holds a slot only for
// the push itself.
func (p *pusher) deliver(batch []report, epoch int) {
	for attempt := 0; ; attempt++ {
		err := p.post(p.ctx, batch)
		p.release()
		if p.ctx.Err() != nil {
			return
		}
		last := attempt == len(p.waits)
		failed := p.count(batch, epoch, err, last)
		if failed {
			p.log.Warn("delivery reports not taken",
				"reports", len(batch), "attempt", attempt+1, "given_up", last, "error", err)
		}
		if !failed || last {
			return
		}
		timer := time.NewTimer(p.waits[attempt])
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			timer.Stop()
			return
		}
		if !p.take() {
			return
		}
		if !p.current(epoch) {
			p.release()
			return
		}
	}
}

// count counts a push, and reports whether it failed. What a reset dropped
// counts no more.
func (p *pusher) count(batch []report, epoch int, err error, last bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := int64(len(batch))
	switch {
	case epoch != p.epoch:
		return false
	case err == nil:
		p.counts.Delivered += n
		return false
	}
	p.counts.Failed += n
	if last {
		p.counts.GivenUp += n
	}
	return true
}

func (p *pusher) current(epoch int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return epoch == p.epoch
}

func (p *pusher) stats() ReportStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// reset drops what waits, and what is under way once it fails.
func (p *pusher) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting, p.counts = nil, ReportStats{}
	p.epoch++
}

// close ends every push and waits for it.
func (p *pusher) close() {
	p.cancel()
	p.work.Wait()
}

var errReportRefused = errors.New("the answer is not 200 with code 0")

// httpPost pushes to a URL.
func httpPost(url string) post {
	client := &http.Client{
		// Its own transport, since the default one would use a proxy from the
		// environment. A connection is not kept, so that none is left behind.
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, reports []report) error {
		ctx, cancel := context.WithTimeoutCause(ctx, reportTimeout, errors.New("no answer within 700 ms"))
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(encode(reports)))
		if err != nil {
			return errors.New("the report URL is not valid") // the error of net/http quotes it
		}
		req.Header.Set("Content-Type", "application/json;charset=utf-8")
		resp, err := client.Do(req)
		if err != nil {
			return withoutURL(ctx, err)
		}
		defer func() { _ = resp.Body.Close() }() // it was only read
		var answer struct {
			Code *int `json:"code"`
		}
		if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&answer); err != nil && ctx.Err() != nil {
			return withoutURL(ctx, err)
		}
		if resp.StatusCode != http.StatusOK || answer.Code == nil || *answer.Code != 0 {
			return fmt.Errorf("status %d: %w", resp.StatusCode, errReportRefused)
		}
		return nil
	}
}

// withoutURL returns what is wrong with a push and leaves the URL out.
func withoutURL(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}
