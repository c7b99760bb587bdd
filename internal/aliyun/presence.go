package aliyun

import (
	"context"
	"errors"
	"net/http"
	"time"

	dysmsapi "github.com/alibabacloud-go/dysmsapi-20170525/v3/client"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// Presence is what an endpoint shows to whoever comes without a key.
type Presence struct {
	// Status is the HTTP status of its answer; any will do.
	Status int
	// Ahead is how far its clock is ahead of ours, negative where it is behind.
	// The Date header counts whole seconds, so it is exact to half of one and the
	// time that making the connection took.
	Ahead time.Duration
	// Dated is false where the answer had no Date header that could be read, and
	// so nothing is known of its clock.
	Dated bool
}

// Knock asks the endpoint for its front page: no key, no signature, no parameter.
// Whatever it answers shows that it can be reached, and what its clock says,
// also where it would refuse every signed call because of that. An error is an
// [*InquiryError] of the reason [Unreachable].
func (s *Sender) Knock(ctx context.Context) (Presence, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.Timeout, errCallTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.opts.Protocol+"://"+s.opts.Endpoint+"/", nil)
	if err != nil {
		// The error may quote the endpoint, and that may hold anything.
		return Presence{}, &InquiryError{Reason: Unreachable, Code: codeNotBuilt, Message: "the endpoint is no address"}
	}
	x := s.exchange(ctx, &keys{}, time.Time{}, func(client *dysmsapi.Client) error {
		_, err := client.HttpClient.Call(request, nil) //nolint:bodyclose // it is in memory
		return err
	})
	if x.status == 0 {
		code := faultCode(ctx, x)
		return Presence{}, &InquiryError{Reason: Unreachable, Code: code, Message: knockText(x, code)}
	}
	p := Presence{Status: x.status}
	// The fraction of a second that the header leaves out is half of one on
	// average, and it was written halfway between question and answer.
	if date, err := http.ParseTime(x.date); err == nil {
		p.Ahead, p.Dated = date.Add(time.Second/2).Sub(x.began.Add(x.took/2)), true
	}
	return p, nil
}

// knockText explains why nothing answers. Nothing that must not be seen is in this
// request, so that the handshake may say for itself what is wrong with it.
func knockText(x *exchange, code string) string {
	var handshake *tlsError
	if errors.As(x.err, &handshake) {
		return newScrubber(domain.Message{}).text(handshake.Error())
	}
	return faultText(x, code)
}
