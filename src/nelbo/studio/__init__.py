"""The browser studio: pages to drag, on loopback, in a notebook, or in one HTML file."""
