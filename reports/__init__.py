"""Tables, statistics, figures and the report page, made from records; never imports torch."""
