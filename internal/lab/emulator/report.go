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
	"slices"
	"sync"
	"time"
)

const (
	reportTimeout  = 700 * time.Millisecond // for the answer to a push
	maxReportBatch = 100                    // reports in one push
)

// report is one element of a push, as the service writes it.
func (m *message) report() members {
	at, meaning := serviceTime(m.at), "发送失败"
	if m.carrier == delivered {
		meaning = "用户接收成功"
	}
	return members{
		"phone_number": m.number.Key, "send_time": at, "report_time": at,
		"success": m.carrier == delivered, "err_code": m.carrier, "err_msg": meaning, "sms_size": "1", "biz_id": m.bizID, "out_id": m.outID,
	}
}

// post pushes reports once. Its error holds neither the secret URL nor a report.
type post func(ctx context.Context, reports []members) error

// pusher pushes each delivery report until it is answered or given up. It makes one
// push at a time; reports that are due meanwhile gather into the next.
type pusher struct {
	post  post
	waits []time.Duration
	log   *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{} // holds one word: something is due

	mu     sync.Mutex
	due    []dueReport
	counts ReportStats
}

// dueReport is a message's report that is to be pushed.
type dueReport struct {
	message *message
	pushes  int // that failed
}

func newPusher(ctx context.Context, post post, waits []time.Duration, log *slog.Logger) *pusher {
	p := &pusher{post: post, waits: waits, log: log, wake: make(chan struct{}, 1)}
	p.ctx, p.cancel = context.WithCancel(ctx)
	p.work.Go(p.run)
	return p
}

func (p *pusher) push(r dueReport) {
	p.mu.Lock()
	p.due = append(p.due, r)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default: // it is awake already
	}
}

// run pushes what is due until the pusher is closed.
func (p *pusher) run() {
	for {
		p.mu.Lock()
		n := min(maxReportBatch, len(p.due))
		batch := slices.Clone(p.due[:n])
		p.due = p.due[n:]
		p.mu.Unlock()
		if n == 0 {
			select {
			case <-p.wake:
			case <-p.ctx.Done():
				return
			}
			continue
		}
		reports := make([]members, n)
		for i, r := range batch {
			reports[i] = r.message.report()
		}
		err := p.post(p.ctx, reports)
		if p.ctx.Err() != nil {
			return
		}
		p.settle(batch, err)
	}
}

// settle counts a push, and lets failed reports be pushed again unless they are given up.
func (p *pusher) settle(batch []dueReport, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
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
		time.AfterFunc(p.waits[r.pushes], func() { p.push(dueReport{r.message, r.pushes + 1}) })
	}
	p.counts.GivenUp += int64(givenUp)
	p.log.Warn("delivery reports not taken", "reports", len(batch), "given_up", givenUp, "error", err)
}

func (p *pusher) stats() ReportStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// close ends every push and waits for it. What waits is dropped.
func (p *pusher) close() {
	p.cancel()
	p.work.Wait()
}

func httpPost(address string) post {
	client := &http.Client{
		// The default transport would use a proxy of the environment. Connections are
		// not kept, so that none is left behind.
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, reports []members) error {
		ctx, cancel := context.WithTimeoutCause(ctx, reportTimeout, errors.New("no answer within 700 ms"))
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(encode(reports)))
		if err != nil {
			return errors.New("the report URL is not valid") // the error of net/http quotes it
		}
		req.Header.Set("Content-Type", "application/json;charset=utf-8")
		resp, err := client.Do(req)
		if err != nil {
			return cmp.Or(context.Cause(ctx), errors.Unwrap(err)) // what wraps it has the URL
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
