// Tells moments in the reader's own zone, with its name, and in UTC to whoever points at them. Without it they stand there in UTC.
// How long ago something was is told as it is.

const whole = /^\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?( UTC)?$/;
const toMinutes = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "short" });
const toSeconds = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "medium" });
const zone = new Intl.DateTimeFormat("en", { timeZoneName: "short" });

function inZone(root) {
  for (const time of root.querySelectorAll("time")) {
    const found = time.textContent.match(whole);
    if (!found) continue;
    const at = new Date(time.dateTime);
    const { value } = zone.formatToParts(at).find(({ type }) => type === "timeZoneName");
    time.title = `${time.dateTime.slice(0, 19).replace("T", " ")} UTC`;
    time.textContent = `${(found[1] ? toSeconds : toMinutes).format(at)} ${value}`;
  }
}

inZone(document);

