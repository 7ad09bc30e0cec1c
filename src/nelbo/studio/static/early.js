// Asks at once for the modules of the page that the address names, which otherwise would be found one behind the other.
{
  const lists = JSON.parse(document.querySelector("#modules").textContent);
  const page = location.hash.slice(1).split("?")[0];
  for (const name of lists[page] ?? lists.home) {
    const link = document.createElement("link");
    link.rel = "modulepreload";
    link.href = `./${name}`;
    document.head.append(link);
  }
}
