//go:build !race

package pace

import "time"

// outageLasts is how long Aliyun is away.
const outageLasts = time.Hour
