"""TaxiBJ: traffic flow of Beijing."""
