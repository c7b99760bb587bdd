package request

import (
	"fmt"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// nextCommand says what there is to do about a request, and with which command.
func nextCommand(rec passcode.Result, letters []passcode.Reason, now time.Time) string {
	const again = "Look again in a moment."
	switch rec.Status {
	case passcode.StatusSending:
		return "A call to Aliyun may be in progress. Where its worker is gone, another takes the job up when the lease (worker.ack_wait) runs out. " + again
	case passcode.StatusRetrying:
		if rec.Error != nil && rec.Error.Class == passcode.ClassAccount {
			return "Aliyun refuses the whole account. Once that is in order, \"worker resume\" has it tried at once."
		}
		return "Another attempt follows. " + again
	case passcode.StatusInDoubt:
		return "Aliyun is being asked what became of the last attempt. " + again
	case passcode.StatusSent:
		return "Aliyun accepted it; nothing is left to do. Its console tells by biz_id or phone what the carrier did."
	case passcode.StatusDelivered:
		return "The carrier delivered it; nothing is left to do."
	case passcode.StatusUndelivered:
		return "The carrier could not deliver it. The user may ask for a new passcode, or check the number."
	case passcode.StatusRateLimited:
		return "Nothing was sent. \"worker limits show PHONE\" shows what counts against the phone, \"worker limits reset PHONE\" forgets it."
	case passcode.StatusExpired:
		return "Nothing was sent in time, and the passcode is worth nothing any more: the user asks for a new one. The gaps below show where the time went."
	case passcode.StatusRejected:
		text := "It can't be sent, now or later: the number can't receive it, or the producer made a mistake."
		if len(letters) > 0 {
			text += fmt.Sprintf(" \"worker dlq show %s\" shows the job.", rec.RequestID)
		}
		return text
	default: // unknown, dead_lettered
		return deadText(rec, letters, now)
	}
}

// deadText says what to do about a request that needs an operator.
func deadText(rec passcode.Result, letters []passcode.Reason, now time.Time) string {
	if len(letters) == 0 {
		return "Its dead letter is gone: replayed, discarded, or older than dead_letters.retention. The user has to ask for a new passcode."
	}
	text := fmt.Sprintf("It is in the dead-letter stream: \"worker dlq show %s\" shows it. ", rec.RequestID)
	replay := "\"worker dlq replay --id " + rec.RequestID
	if !now.Before(rec.ExpiresAt) {
		replay += " --ttl 10m"
	}
	replay += "\""
	class := passcode.ClassTransient
	if rec.Error != nil {
		class = rec.Error.Class
	}
	switch {
	case class == passcode.ClassConfig:
		text += "Fix the template, signature or parameters, then " + replay + " sends it."
	case class == passcode.ClassPoison || rec.Status == passcode.StatusUnknown:
		text += "It may have been sent: " + replay + " asks Aliyun first, and sends only what it doesn't find."
	default:
		text += replay + " tries again."
	}
	if strings.Contains(replay, "--ttl") {
		text += " The passcode has expired, so that makes sense only where the user still waits for it."
	}
	return text
}
