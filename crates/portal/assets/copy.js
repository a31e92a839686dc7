// Copies a text to the clipboard. Without this script the buttons stay hidden, and people mark
// the text beside them.
for (const button of document.querySelectorAll("button[data-copies]")) {
  const field = document.getElementById(button.dataset.copies);
  const [text] = button.childNodes;
  const said = text.data;
  button.hidden = false;
  button.addEventListener("click", async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      document.execCommand("copy");
    }
    text.data = "Copied";
    setTimeout(() => { text.data = said; }, 2000);
  });
}
