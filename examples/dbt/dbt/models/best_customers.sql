select customer.name, count(*) as orders
from {{ source('shop', 'orders') }} as ordered
join {{ source('shop', 'customers') }} as customer on customer.id = ordered.customer_id
group by customer.name
