package aliyun

import (
	"context"
	"fmt"
	"time"

	dysmsapi "github.com/alibabacloud-go/dysmsapi-20170525/v3/client"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	// pageSize is the largest that QuerySendDetails allows.
	pageSize = 50
	// maxPages bounds one day of one phone. Aliyun lets a phone have 40 messages
	// a day over all senders, so even the second page is unheard of.
	maxPages = 20
	// maxAge is how far back a look-up goes. Records and dead letters are kept for
	// days.
	maxAge = 30 * 24 * time.Hour
	// midnightMargin is how near to midnight the neighbouring day is asked for
	// too: our clock and Aliyun's are not the same.
	midnightMargin = 10 * time.Minute
)

// beijing is the zone of QuerySendDetails' days: UTC+8, without summer time.
var beijing = time.FixedZone("UTC+8", 8*60*60)

// Values of a row's SendStatus.
const sendStatusFailed = 2 // 1 is waiting for the carrier's report, 3 delivered

// LookupError says why a look-up could not tell.
type LookupError struct {
	// Class is transient, throttled, account or config (or, of a service that
	// answers strangely, any other but ok and in_doubt).
	Class passcode.Class
	// Code is Aliyun's, or a word of ours.
	Code string
	// Answered is true where it was Aliyun itself that gave this answer: it is there.
	Answered bool
}

// Error names class and code, and nothing of the message.
func (e *LookupError) Error() string { return fmt.Sprintf("look up: %s (%s)", e.Code, e.Class) }

// Lookup asks Aliyun what became of the attempts of a request, of which none was
// made before since. It reads every page of the send details of the phone, of each
// day from then to today (UTC+8), and looks for the request id.
//
// Where several attempts left a row, one that was accepted outweighs one that
// could not be delivered. NotFound is no error; it means that all rows were read.
// How soon after a send its row appears is not documented. An error is a
// [*LookupError].
func (s *Sender) Lookup(ctx context.Context, phone passcode.Phone, requestID string, since time.Time) (domain.Finding, error) {
	number, _, ok := numberFor(phone)
	if !ok {
		return domain.Finding{}, &LookupError{Class: passcode.ClassRecipient, Code: "phone_invalid"}
	}
	if requestID == "" {
		// Rows of senders without an OutId would all match.
		return domain.Finding{}, &LookupError{Class: passcode.ClassConfig, Code: "no_request_id"}
	}
	scrub := newScrubber(domain.Message{Phone: phone})
	found := domain.Finding{State: domain.NotFound}
	for _, day := range days(since, s.opts.Now()) {
		onDay, err := s.lookupDay(ctx, number, requestID, day, scrub)
		if err != nil {
			return domain.Finding{}, err
		}
		s.breaker.answered()
		switch onDay.State {
		case domain.Accepted:
			return onDay, nil
		case domain.Undelivered:
			found = onDay
		case domain.NotFound:
		}
	}
	return found, nil
}

// days lists the days from since to now, each once: the first of them first, which
// mostly is the only one.
func days(since, now time.Time) []string {
	var list []string
	seen := map[string]bool{}
	add := func(t time.Time) {
		for _, shift := range []time.Duration{0, -midnightMargin, midnightMargin} {
			day := t.Add(shift).In(beijing).Format("20060102")
			if !seen[day] {
				seen[day] = true
				list = append(list, day)
			}
		}
	}
	if oldest := now.Add(-maxAge); since.Before(oldest) {
		since = oldest
	}
	for t := since; t.Before(now); t = t.Add(24 * time.Hour) {
		add(t)
	}
	add(now)
	return list
}

func (s *Sender) lookupDay(ctx context.Context, phone, requestID, day string, scrub *scrubber) (domain.Finding, error) {
	found := domain.Finding{State: domain.NotFound}
	read := number(0)
	for page := int64(1); page <= maxPages; page++ {
		answer, err := s.details(ctx, phone, day, page, scrub)
		if err != nil {
			return domain.Finding{}, err
		}
		if !answer.plausible() {
			return domain.Finding{}, &LookupError{Class: passcode.ClassTransient, Code: codeUnreadable}
		}
		rows := answer.Details.Rows
		if read += number(len(rows)); read > *answer.TotalCount {
			return domain.Finding{}, &LookupError{Class: passcode.ClassTransient, Code: "incomplete_pages", Answered: true}
		}
		for _, row := range rows {
			if row.OutID != requestID {
				continue
			}
			if *row.SendStatus != sendStatusFailed {
				// A row is proof that Aliyun took the message, whatever its status.
				return domain.Finding{State: domain.Accepted}, nil
			}
			found = domain.Finding{State: domain.Undelivered, ErrorCode: scrub.code(row.ErrCode)}
		}
		if read == *answer.TotalCount {
			return found, nil
		}
		if len(rows) == 0 {
			return domain.Finding{}, &LookupError{Class: passcode.ClassTransient, Code: "incomplete_pages", Answered: true}
		}
	}
	return domain.Finding{}, &LookupError{Class: passcode.ClassTransient, Code: "too_many_pages", Answered: true}
}

// detailsPage is one page of QuerySendDetails, as far as it is used. The rows hold
// the whole text of each message, so no part of them goes anywhere else.
type detailsPage struct {
	TotalCount *number
	Details    struct {
		Rows []*struct {
			OutID      string `json:"OutId"`
			SendStatus *number
			ErrCode    string
		} `json:"SmsSendDetailDTO"`
	} `json:"SmsSendDetailDTOs"`
}

// plausible reports whether the page can be the service's. What it says decides
// whether a message is sent a second time, so a row that is none must neither be
// counted as read, nor prove anything.
func (p *detailsPage) plausible() bool {
	if p.TotalCount == nil || *p.TotalCount < 0 || len(p.Details.Rows) > pageSize {
		return false
	}
	for _, row := range p.Details.Rows {
		if row == nil || row.SendStatus == nil {
			return false
		}
	}
	return true
}

// details reads one page.
func (s *Sender) details(ctx context.Context, phone, day string, page int64, scrub *scrubber) (*detailsPage, error) {
	var answer detailsPage
	refused := ask(ctx, s, scrub, (*dysmsapi.Client).QuerySendDetailsWithOptions,
		(&dysmsapi.QuerySendDetailsRequest{}).SetPhoneNumber(phone).SetSendDate(day).SetPageSize(pageSize).SetCurrentPage(page), &answer)
	if refused != nil {
		return nil, lookupError(refused)
	}
	return &answer, nil
}

// lookupError takes the doubt out of a class: to ask twice does no harm.
func lookupError(r *refusal) error {
	class := r.class
	if class == passcode.ClassInDoubt {
		class = passcode.ClassTransient
	}
	return &LookupError{Class: class, Code: r.code, Answered: r.answered}
}
